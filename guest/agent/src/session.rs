// SPDX-License-Identifier: GPL-2.0-only
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use wire::frame::CHUNK;
use wire::{Addressed, Challenge, Channel, FrameError, MAIN, Marker, Reply, Request, SEED, Stream};

use crate::boot::{self, BootError};
use crate::guard::Machine;
use crate::job::{self, Job};
use crate::kmsg::{self, Log};
use crate::port::Port;
use crate::sampler::{self, Sampler};
use crate::sys::Ending;
use crate::{carrier, helper, life, program, share, sys};

/// How long the last message may take to be sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);

/// How long to wait for the host before something useful is done in its place; as long as it never was
/// there, how often to look whether it has come.
const HOST_SEARCH: Duration = Duration::from_millis(1);

/// The most records that are sent before a reply: more than the log holds, so that a kernel which never
/// stops talking can't hold back the reply for ever.
const MOST_RECORDS: usize = 16 << 10;

const RANDOM: &str = "/dev/urandom";
const TAINT: &str = "/proc/sys/kernel/tainted";
const MODULES: &str = "/proc/modules";

/// Why the session is over.
enum End {
    /// The host said so, and was told goodbye.
    PowerOff,
    /// Nobody is there any more.
    HostGone,
    /// Going on makes no sense, for this reason.
    Refused(String),
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The places of [`Session::watched`], before those of the tasks.
const PORT: usize = 0;
const LOG: usize = 1;
const CHILDREN: usize = 2;
const TASKS: usize = 3;

/// How many places each task has: its input, its two outputs, and whether it has answered.
const PLACES: usize = 4;
const ANSWER: usize = 3;

/// A request that a process carries out.
struct Task {
    job: Job,
    /// What it does, in the words of the request.
    action: String,
}

/// Everything between the end of booting and the end of the machine.
pub(crate) struct Session<'m> {
    machine: &'m Machine,
    boot_modules: Vec<String>,
    port: Port,
    log: Log,
    children: File,
    /// `/dev/urandom`. What is asked of it, and of `last_words`, is asked of a machine that was just restored or is
    /// about to end: to open a file would take its emulator longer than the question.
    random: File,
    last_words: LastWords,
    tasks: Vec<Task>,
    /// A helper that has answered, and waits for the next question. It is ended before anything else is done: modules
    /// are judged by what is there before and after.
    asker: Option<Job>,
    /// What looks where the processors are, if it is to be looked.
    sampler: Option<Sampler>,
    /// Whether the host has said hello.
    open: bool,
    /// Whether `lo` was brought up. It takes longer than the rest of the agent's booting, so it is done
    /// while nobody waits: before hello, and at the latest before the first program.
    loopback: bool,
    /// Whether there may be a whole request that has not been looked at.
    more_requests: bool,
    watched: Vec<libc::pollfd>,
}

impl<'m> Session<'m> {
    /// Prepares a session with whoever is at the port's other end.
    pub(crate) fn new(
        machine: &'m Machine,
        port: Port,
        boot_modules: Vec<String>,
    ) -> Result<Self, BootError> {
        let log = Log::open().map_err(|cause| BootError { action: "open /dev/kmsg".into(), cause })?;
        let children = sys::child_events()
            .map_err(|cause| BootError { action: "ask for the ends of processes".into(), cause })?;
        let random =
            File::open(RANDOM).map_err(|cause| BootError { action: format!("open {RANDOM}"), cause })?;
        let last_words =
            LastWords::open().map_err(|(path, cause)| BootError { action: format!("open {path}"), cause })?;
        Ok(Self {
            machine,
            boot_modules,
            port,
            log,
            children,
            random,
            last_words,
            tasks: Vec::new(),
            asker: None,
            sampler: None,
            open: false,
            loopback: false,
            more_requests: false,
            watched: Vec::new(),
        })
    }

    /// Serves the host until the session is over.
    pub(crate) fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        if let End::Refused(reason) = end {
            kmsg::say(kmsg::ERROR, format_args!("refused: {reason}"));
            if !self.open {
                self.port.discard_outgoing();
            }
            let _ = self.port.queue(MAIN, Reply::Refused { reason });
        } else if let End::HostGone = end {
            return kmsg::say(kmsg::ERROR, format_args!("the host closed the port"));
        }
        if let Err(error) = self.port.send_last(LONGEST_GOODBYE) {
            kmsg::say(kmsg::ERROR, format_args!("send the last message: {error}"));
        }
    }

    /// Waits for something to happen and deals with all that has.
    fn turn(&mut self) -> Result<(), End> {
        self.wait()?;
        if !self.open && self.watched.iter().all(|watched| watched.revents == 0) {
            self.bring_loopback_up();
        }
        if self.is_ready(LOG) && !self.port.is_full() {
            self.forward_log(MOST_RECORDS)?;
        }
        if self.is_ready(PORT) || !self.port.is_connected() {
            self.receive()?;
        }
        self.serve_tasks()?;
        if let Some(sampler) = &mut self.sampler {
            sampler.take();
        }
        self.collect_answers()?;
        if self.is_ready(CHILDREN) {
            self.collect_children()?;
        }
        self.take_requests()?;
        if self.open {
            self.port.send().map_err(|_| End::HostGone)?;
        }
        Ok(())
    }

    /// Hands on the input and the output of each task that is ready for it.
    fn serve_tasks(&mut self) -> Result<(), End> {
        let places = self.watched[TASKS..].chunks_exact(PLACES);
        for (Task { job, .. }, places) in self.tasks.iter_mut().zip(places) {
            if places[0].revents != 0 {
                job.write_input();
            }
            for (index, place) in places[1..ANSWER].iter().enumerate() {
                if place.revents != 0 {
                    job.read_output(index, &mut self.port)?;
                }
            }
            if let Some(bytes) = job.tell_input() {
                self.port.queue(job.channel(), Reply::InputTaken { bytes })?;
            }
        }
        Ok(())
    }

    fn bring_loopback_up(&mut self) {
        if !self.loopback {
            self.loopback = true;
            boot::bring_loopback_up();
        }
    }

    fn is_ready(&self, place: usize) -> bool {
        self.watched[place].revents != 0
    }

    /// Whether a request may be looked at now. Before hello nothing is sent, so that has to come through.
    fn takes_requests(&self) -> bool {
        !(self.open && self.port.is_full()) && self.tasks.iter().all(|task| task.job.lets_requests_through())
    }

    fn wait(&mut self) -> Result<(), End> {
        let (port, full) = (self.port.as_raw_fd(), self.port.is_full());
        let unless = |condition: bool, descriptor: RawFd| if condition { -1 } else { descriptor };
        let mut port_events = 0;
        if self.takes_requests() {
            port_events |= libc::POLLIN;
        }
        if self.open && self.port.has_outgoing() {
            port_events |= libc::POLLOUT;
        }
        self.watched.clear();
        let mut watch = |fd, events| self.watched.push(libc::pollfd { fd, events, revents: 0 });
        watch(unless(!self.port.is_connected(), port), port_events);
        watch(unless(full, self.log.as_raw_fd()), libc::POLLIN);
        watch(self.children.as_raw_fd(), libc::POLLIN);
        for Task { job, .. } in &self.tasks {
            watch(job.wanted_input(), libc::POLLOUT);
            watch(unless(full, job.wanted_output(0)), libc::POLLIN);
            watch(unless(full, job.wanted_output(1)), libc::POLLIN);
            watch(unless(full, job.wanted_answer()), libc::POLLIN);
        }
        let longest = if self.more_requests && self.takes_requests() {
            Some(Duration::ZERO)
        } else {
            let expects_host = !self.port.is_connected() || !self.loopback && !self.open;
            expects_host.then_some(HOST_SEARCH).or(self.sampler.as_ref().map(|_| sampler::LONGEST_WAIT))
        };
        sys::wait_until_ready(&mut self.watched, longest)
            .map_err(|error| End::Refused(format!("wait for something to happen: {error}")))
    }

    /// Receives what the host sent, or notices that it left.
    fn receive(&mut self) -> Result<(), End> {
        let gone = self.watched[PORT].revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0;
        if !self.takes_requests() && !gone {
            return Ok(());
        }
        self.port.receive().map_err(|_| End::HostGone)?;
        self.more_requests = true;
        Ok(())
    }

    /// Sends log records on. Of those from before hello only warnings and worse are.
    fn forward_log(&mut self, most: usize) -> Result<(), End> {
        for _ in 0..most {
            let record = self.log.next();
            let record = record.map_err(|error| End::Refused(format!("read the kernel's log: {error}")))?;
            let Some(kmsg::Record { level, micros, text }) = record else { break };
            if self.open || level <= kmsg::WARNING {
                self.port.queue(MAIN, Reply::Log { level, uptime_micros: micros, text })?;
            }
        }
        Ok(())
    }

    /// Ends the requests that helpers have answered.
    fn collect_answers(&mut self) -> Result<(), End> {
        let places = self.watched[TASKS..].chunks_exact(PLACES);
        let has_answered = |place: &libc::pollfd| place.revents & libc::POLLIN != 0;
        let mut answered: Vec<bool> = places.map(|places| has_answered(&places[ANSWER])).collect();
        // The last one first: what is taken out moves those behind it.
        while let Some(has_answered) = answered.pop() {
            if has_answered {
                let Task { mut job, .. } = self.tasks.remove(answered.len());
                let reply = job.conclude(Ending::Status(0), &mut self.port)?;
                self.finish(job.channel(), reply)?;
                self.rest(job);
            }
        }
        Ok(())
    }

    /// Keeps a helper for the next question.
    fn rest(&mut self, asker: Job) {
        self.end_asker();
        self.asker = Some(asker);
    }

    /// Ends the helper that waits for a question. It does nothing, so that it may be killed.
    fn end_asker(&mut self) {
        if let Some(asker) = self.asker.take() {
            let _ = asker.signal(libc::SIGKILL);
        }
    }

    /// Has a helper answer a question: one that waits for it, or a new one.
    fn ask(&mut self, channel: Channel, path: String, input: &[u8]) -> Result<(), End> {
        let waiting = self.asker.take();
        let mut sampler = self.sampler.take();
        let begun = self.begin(channel, format!("ask {path}"), |_| {
            // It may have been killed.
            match waiting.and_then(|asker| asker.ask(path.clone(), input).ok()) {
                Some(job) => Ok(job),
                None => helper::start_asker(sampler.as_mut())?.ask(path, input),
            }
        });
        self.sampler = sampler;
        begun
    }

    /// What a program does is looked at from here on.
    fn look(&mut self) {
        if let Some(Err(error)) = self.sampler.as_mut().map(Sampler::begin) {
            kmsg::say(kmsg::WARNING, format_args!("begin to sample: {error}"));
        }
        sys::mark_begin();
    }

    /// What a program does is over.
    fn look_away(&mut self) {
        sys::mark_end();
        if let Some(Err(error)) = self.sampler.as_mut().map(Sampler::end) {
            kmsg::say(kmsg::WARNING, format_args!("end sampling: {error}"));
        }
    }

    /// Prepares to look where the processors are.
    fn sample(&mut self, channel: Channel, rate: u32) -> Result<(), End> {
        // It would not know.
        self.end_asker();
        let reply = match Sampler::open(rate) {
            Ok(sampler) => {
                self.sampler = Some(sampler);
                Reply::Done
            }
            Err(error) => Reply::Failed { action: "open perf events".into(), errno: job::errno(&error) },
        };
        self.finish(channel, reply)
    }

    /// Sends what was seen.
    fn tell_samples(&mut self, channel: Channel) -> Result<(), End> {
        self.end_asker();
        let Some(sampler) = self.sampler.take() else {
            let action = "tell samples, of which none were asked for".into();
            return self.finish(channel, Reply::Failed { action, errno: libc::EINVAL });
        };
        let mut data = Vec::new();
        for sampled in sampler.close() {
            data.extend(wire::encode(&sampled)?);
        }
        for data in data.chunks(CHUNK) {
            self.port.queue(channel, Reply::Output { stream: Stream::Stdout, data: data.to_vec() })?;
        }
        self.finish(channel, Reply::Done)
    }

    /// Collects every process that has ended, orphans among them, and ends the request whose process did.
    fn collect_children(&mut self) -> Result<(), End> {
        // How many have ended isn't told; that the signal came is all that is read here.
        let _ = self.children.read(&mut [0; 1024]);
        while let Some((process, ending)) = sys::reap() {
            self.asker.take_if(|asker| asker.process() == process);
            if let Some(index) = self.tasks.iter().position(|task| task.job.process() == process) {
                let mut job = self.tasks.remove(index).job;
                if job.is_program() {
                    self.look_away();
                }
                let channel = job.channel();
                let reply = job.conclude(ending, &mut self.port)?;
                self.finish(channel, reply)?;
            }
        }
        Ok(())
    }

    /// Sends the reply that ends a request, and before it what the kernel said meanwhile.
    fn finish(&mut self, channel: Channel, reply: Reply) -> Result<(), End> {
        self.forward_log(MOST_RECORDS)?;
        Ok(self.port.queue(channel, reply)?)
    }

    fn take_requests(&mut self) -> Result<(), End> {
        while self.more_requests && self.takes_requests() {
            match self.port.request()? {
                Some(request) => self.handle(request)?,
                None => self.more_requests = false,
            }
        }
        Ok(())
    }

    fn handle(&mut self, Addressed { channel, message }: Addressed<Request>) -> Result<(), End> {
        match message {
            Request::Hello { version, marker, challenge, unix_nanos, seed } => {
                self.admit(version, marker)?;
                self.hello(challenge, unix_nanos, &seed)
            }
            _ if !self.open => Err(End::Refused("the first message is not a hello".into())),
            Request::Put { path, mode, append, data } => self.put(channel, path, mode, append, data),
            Request::Read { path } => self.begin(channel, format!("read {path}"), |_| helper::read(path)),
            Request::ReadAt { path, pieces } => {
                self.begin(channel, format!("read {path}"), |_| helper::read_at(path, pieces))
            }
            Request::Ask { path, input } => self.ask(channel, path, &input),
            Request::Load { path, parameters } => {
                self.begin(channel, format!("load {path}"), |machine| helper::load(machine, path, parameters))
            }
            Request::Unload { name } => {
                self.begin(channel, format!("unload {name}"), |machine| helper::unload(machine, name))
            }
            Request::Exercise { path, name, deeds } => {
                self.begin(channel, format!("exercise {name}"), |machine| {
                    life::exercise(machine, path, name, deeds)
                })
            }
            Request::Run(process) => {
                let name = process.arguments.first().map_or("nothing", |name| name);
                let action = format!("run {name}");
                self.bring_loopback_up();
                self.look();
                self.begin(channel, action, |_| program::run(process))
            }
            Request::Sample { rate } => self.sample(channel, rate),
            Request::Samples => self.tell_samples(channel),
            // The carrier has all that follow, and the replies.
            Request::Share { .. } if !self.port.is_carried() => {
                carrier::start(&mut self.port, Addressed::new(channel, message))
                    .map_err(|error| End::Refused(format!("start what carries shares: {error}")))
            }
            Request::Share { .. } | Request::ShareReply { .. } | Request::ShareEnd => Ok(()),
            Request::Root { lower, path } => {
                self.begin(channel, format!("make the root {path}"), |_| share::make_root(lower, path))
            }
            Request::Show { from, paths } => {
                self.begin(channel, format!("show {from}"), |_| share::show(from, paths))
            }
            Request::PowerOff => self.say_goodbye(),
            Request::Stdin { data } => self.tell_job(channel, |job| {
                job.feed(&data);
                Ok(())
            }),
            Request::StdinEnd => self.tell_job(channel, |job| {
                job.end_input();
                Ok(())
            }),
            Request::OutputTaken { bytes } => self.tell_job(channel, |job| {
                job.allow_output(bytes);
                Ok(())
            }),
            Request::Resize(size) => self.tell_job(channel, |job| job.resize(size)),
            Request::Signal { number } => self.tell_job(channel, |job| job.signal(number)),
        }
    }

    /// Does what isn't answered to what is running. Nothing running is the ordinary case of a program that
    /// ended a moment ago.
    fn tell_job(
        &mut self,
        channel: Channel,
        what: impl FnOnce(&mut Job) -> io::Result<()>,
    ) -> Result<(), End> {
        let Some(Task { job, .. }) = self.tasks.iter_mut().find(|task| task.job.channel() == channel) else {
            return Ok(());
        };
        if let Err(error) = what(job) {
            kmsg::say(kmsg::WARNING, format_args!("steer the running program: {error}"));
        }
        if let Some(bytes) = job.tell_input() {
            self.port.queue(channel, Reply::InputTaken { bytes })?;
        }
        Ok(())
    }

    /// Refuses a host that is not ours, or that interrupts.
    fn admit(&self, version: u16, marker: Marker) -> Result<(), End> {
        let (our_version, our_marker) = (wire::VERSION, self.machine.marker());
        let reason = if !self.tasks.is_empty() {
            "a hello while a request is carried out".to_owned()
        } else if version != our_version {
            format!("the host speaks version {version}, this agent version {our_version}")
        } else if marker != our_marker {
            format!("the host looks for machine {marker}, this is {our_marker}")
        } else {
            return Ok(());
        };
        Err(End::Refused(reason))
    }

    /// Opens the session, or goes on with it as a machine that was restored: with the present time, and with
    /// random numbers of its own.
    fn hello(&mut self, challenge: Challenge, unix_nanos: u64, seed: &[u8; SEED]) -> Result<(), End> {
        self.forward_log(MOST_RECORDS)?;
        // What holds already isn't done again: all that a restored machine does takes an emulator long.
        let first = !mem::replace(&mut self.open, true);
        let prepared = sys::set_clock(Duration::from_nanos(unix_nanos))
            .and_then(|()| sys::seed_random_numbers(&self.random, seed))
            .and_then(|()| if first { sys::show_all_on_console() } else { Ok(()) });
        prepared.map_err(|error| End::Refused(format!("prepare the session: {error}")))?;
        Ok(self.port.queue(MAIN, Reply::Hello { version: wire::VERSION, challenge })?)
    }

    /// Starts what a request asks for, unless something is running on its channel.
    fn begin(
        &mut self,
        channel: Channel,
        action: String,
        start: impl FnOnce(&Machine) -> io::Result<Job>,
    ) -> Result<(), End> {
        self.end_asker();
        if self.is_busy(channel) {
            return self.finish(channel, Reply::Failed { action, errno: libc::EBUSY });
        }
        match start(self.machine) {
            Ok(job) => self.tasks.push(Task { job: job.on(channel), action }),
            Err(error) => {
                return self.finish(channel, Reply::Failed { action, errno: job::errno(&error) });
            }
        }
        Ok(())
    }

    /// Whether something is running on a channel.
    fn is_busy(&self, channel: Channel) -> bool {
        self.tasks.iter().any(|task| task.job.channel() == channel)
    }

    /// Writes to a file: at once where that is sure not to take long.
    fn put(
        &mut self,
        channel: Channel,
        path: String,
        mode: u32,
        append: bool,
        data: Vec<u8>,
    ) -> Result<(), End> {
        if !helper::is_payload(&path) || self.is_busy(channel) {
            let action = format!("put {path}");
            return self.begin(channel, action, |_| helper::put(path, mode, append, data));
        }
        self.end_asker();
        self.finish(channel, helper::put_payload(&path, mode, append, &data))
    }

    /// Ends the requests that are still being carried out, tells what the kernel ended up as, and is done.
    fn say_goodbye(&mut self) -> Result<(), End> {
        for Task { job, action } in mem::take(&mut self.tasks) {
            self.finish(job.channel(), Reply::Failed { action, errno: libc::ECANCELED })?;
        }
        let reply = match self.last_words.say(&self.boot_modules) {
            Ok(bye) => bye,
            Err((path, error)) => Reply::Failed { action: format!("read {path}"), errno: job::errno(&error) },
        };
        self.finish(MAIN, reply)?;
        Err(End::PowerOff)
    }
}

/// What the kernel says of itself in the end.
struct LastWords {
    taint: File,
    taint_before: u64,
    /// A kernel that can't load modules has none.
    modules: Option<File>,
}

impl LastWords {
    /// Opens its files, or says which can't be opened.
    fn open() -> Result<Self, (&'static str, io::Error)> {
        let modules = match File::open(MODULES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file.map_err(|error| (MODULES, error))?),
        };
        let taint = File::open(TAINT).map_err(|error| (TAINT, error))?;
        Ok(Self { taint_before: read_taint(&taint).map_err(|error| (TAINT, error))?, taint, modules })
    }

    /// The end message, or the file that can't be read for it.
    fn say(&self, boot_modules: &[String]) -> Result<Reply, (&'static str, io::Error)> {
        let taint = read_taint(&self.taint).map_err(|error| (TAINT, error))?;
        let modules = self.modules.as_ref().map(read_now).transpose().map_err(|error| (MODULES, error))?;
        let modules = loaded_since(boot_modules, &modules.unwrap_or_default());
        Ok(Reply::Bye { taint, taint_before: self.taint_before, modules })
    }
}

fn read_taint(file: &File) -> io::Result<u64> {
    read_now(file)?.trim_end().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// What a file that is open holds now, from its beginning.
fn read_now(file: &File) -> io::Result<String> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match file.read_at(&mut piece, text.len() as u64) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The names in `/proc/modules`, without those that the machine itself needs.
fn loaded_since(boot_modules: &[String], modules: &str) -> Vec<String> {
    let names = modules.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| !boot_modules.iter().any(|known| known == name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_modules_are_not_left_overs() {
        let modules = "vexfs 16384 0 - Live 0xffffffffc0384000 (OE)\n\
                       virtio_console 40960 1 - Live 0xffffffffc0370000\n\
                       virtio_ring 45056 1 virtio_console, Live 0xffffffffc0350000\n";
        let boot = ["virtio_ring".to_owned(), "virtio_console".to_owned()];
        assert_eq!(loaded_since(&boot, modules), ["vexfs"]);
        assert_eq!(loaded_since(&boot, ""), [""; 0]);
    }

    #[test]
    fn an_open_file_is_read_as_it_is_now() {
        let path = std::env::temp_dir().join(format!("vexlab-agent-{}", std::process::id()));
        std::fs::write(&path, "long before\n".repeat(1000)).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(read_now(&file).unwrap(), "long before\n".repeat(1000));
        std::fs::write(&path, "now").unwrap();
        assert_eq!(read_now(&file).unwrap(), "now");
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_now(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::remove_file(path).unwrap();
    }
}
