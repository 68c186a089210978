// SPDX-License-Identifier: GPL-2.0-only
use std::collections::BTreeMap;

use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Options, from_lines};

use super::{Frame, Profile};
use crate::error::{Context, Result};
use crate::splat::Language;

/// The colours of frames, which the picture's second title explains.
const RUST: Color = Color { r: 0xe0, g: 0x80, b: 0x40 };
const C: Color = Color { r: 0x60, g: 0xa0, b: 0xd8 };
const KERNEL: Color = Color { r: 0xc8, g: 0xc8, b: 0xc0 };
const EXPLAINED: &str = "orange: Rust; blue: C of the module; grey: the kernel; lighter: inlined";

impl Frame {
    /// As it is in a folded stack: one word for programs that know no more than names.
    fn folded(&self) -> String {
        // What separates frames can be in the name of a type.
        let function = self.function.replace(';', ",");
        let module = self.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
        let inlined = if self.is_inlined { " (inlined)" } else { "" };
        format!("{function}{module}{inlined}")
    }

    fn colour(&self) -> Color {
        let colour = match (self.language, &self.module) {
            (Language::Rust, _) => RUST,
            (_, Some(_)) => C,
            (_, None) => KERNEL,
        };
        let lighter = |part: u8| if self.is_inlined { part + (255 - part) / 2 } else { part };
        Color { r: lighter(colour.r), g: lighter(colour.g), b: lighter(colour.b) }
    }
}

impl Profile {
    /// The stacks, one a line, outermost function first, with what is counted of them: what flame graphs are made of.
    pub fn folded(&self) -> String {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for (stack, count) in &self.stacks {
            let frames: Vec<_> = stack.iter().map(|number| self.frames[*number as usize].folded()).collect();
            *lines.entry(frames.join(";")).or_default() += count;
        }
        lines.into_iter().map(|(stack, count)| format!("{stack} {count}\n")).collect()
    }

    /// The flame graph as SVG.
    ///
    /// # Errors
    ///
    /// When it can't be drawn.
    pub fn flame_graph(&self, title: &str) -> Result<Vec<u8>> {
        let mut colours = PaletteMap::default();
        for frame in &self.frames {
            colours.insert(frame.folded(), frame.colour());
        }
        let mut options = Options::default();
        title.clone_into(&mut options.title);
        options.subtitle = Some(EXPLAINED.to_owned());
        options.count_name = self.unit().to_owned();
        options.deterministic = true;
        options.palette_map = Some(&mut colours);
        let mut picture = Vec::new();
        from_lines(&mut options, self.folded().lines(), &mut picture)
            .context(|| "draw the flame graph".to_owned())?;
        Ok(picture)
    }
}
