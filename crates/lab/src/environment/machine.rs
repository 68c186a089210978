// SPDX-License-Identifier: GPL-2.0-only
//! A machine that runs, of whatever kind it is.

use std::time::Duration;

use crate::image;
use crate::link::Link;
use crate::session::Session;
use crate::splat::{Line, Splat};

/// A machine that a keeper owns.
pub(super) enum Machine {
    /// One with an agent.
    Tiny(Box<Session>),
    /// One with a distribution, which is reached by ssh.
    Whole(Box<image::Running>),
}

impl Machine {
    /// Lets it run. `ended` is told when its agent is gone; who has none is [looked after](Self::has_ended).
    pub(super) fn leave(&mut self, ended: impl FnOnce(Option<String>) + Send + 'static) {
        if let Self::Tiny(session) = self {
            session.leave(ended);
        }
    }

    /// The way to its agent.
    pub(super) fn link(&self) -> Option<Link> {
        match self {
            Self::Tiny(session) => Some(session.link().clone()),
            Self::Whole(_) => None,
        }
    }

    /// Whether it has ended, where nobody else tells.
    pub(super) fn has_ended(&mut self) -> bool {
        match self {
            Self::Tiny(_) => false,
            Self::Whole(running) => !running.is_running(),
        }
    }

    /// Ends it at once.
    pub(super) fn end(&mut self) {
        match self {
            Self::Tiny(session) => session.end(),
            Self::Whole(running) => running.end(),
        }
    }

    /// Lets one that is dying by itself finish its last words, then ends it.
    pub(super) fn let_die(&mut self, limit: Duration) {
        match self {
            Self::Tiny(session) => session.let_die(limit),
            Self::Whole(running) => running.let_die(limit),
        }
    }

    /// The worst trouble that its kernel has reported.
    pub(super) fn worst(&self) -> Option<Splat> {
        match self {
            Self::Tiny(session) => session.console().worst(),
            Self::Whole(running) => running.watch().worst(),
        }
    }

    /// The last line of its console.
    pub(super) fn last_line(&self) -> Option<String> {
        let tail = match self {
            Self::Tiny(session) => session.console().tail(),
            Self::Whole(running) => running.watch().tail(),
        };
        tail.last().map(|line| Line::of_console(line).text.to_owned())
    }

    /// What QEMU has said of itself.
    pub(super) fn qemu_said(&self) -> String {
        match self {
            Self::Tiny(session) => session.qemu_said(),
            Self::Whole(running) => running.qemu_said(),
        }
    }
}
