// SPDX-License-Identifier: GPL-2.0-only
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use wire::life::{Injected, MOST_FRAMES};

use crate::guard::Machine;
use crate::job;
use crate::kmsg::{Log, Record};

/// Where failslab is set up.
const FAILSLAB: &str = "/sys/kernel/debug/failslab";

/// How it is. `fail-nth` passes by its probability and by its other filters, but not by these.
const SETTINGS: &[(&str, &str)] = &[
    // Nearly all allocations may wait for memory; failslab leaves them alone unless it is told otherwise.
    ("ignore-gfp-wait", "N"),
    ("cache-filter", "N"),
    // What fails is said with a trace.
    ("verbose", "2"),
];

/// The countdown of the process that writes to it. Source: `proc_fail_nth_write` in `fs/proc/base.c`.
const COUNTDOWN: &str = "/proc/self/fail-nth";

/// What the kernel says before the trace. Source: `fail_dump` in `lib/fault-inject.c`.
const ANNOUNCEMENT: &str = "FAULT_INJECTION: forcing a failure";

/// Sets failslab up.
pub(super) fn set_up(_: &Machine) -> io::Result<()> {
    set_up_in(Path::new(FAILSLAB), Path::new(COUNTDOWN))
}

fn set_up_in(failslab: &Path, countdown: &Path) -> io::Result<()> {
    fs::metadata(countdown)?;
    SETTINGS.iter().try_for_each(|(name, value)| {
        OpenOptions::new().write(true).open(failslab.join(name))?.write_all(value.as_bytes())
    })
}

/// Does something while the n-th allocation of this process fails.
pub(super) fn while_failing(allocation: u32, work: impl FnOnce() -> io::Result<()>) -> io::Result<Injected> {
    // What is opened and allocated here is not to be what fails.
    let countdown = OpenOptions::new().read(true).write(true).open(COUNTDOWN)?;
    let mut log = Log::open_at_end()?;
    let number = allocation.to_string();
    countdown.write_all_at(number.as_bytes(), 0)?;
    let worked = work();
    let left = read_number(&countdown);
    countdown.write_all_at(b"0", 0)?;
    let mut records = Vec::new();
    while let Some(record) = log.next()? {
        records.push(record);
    }
    let errno = worked.err().map(|error| job::errno(&error));
    Ok(Injected { errno, left: left?, trace: trace(&records) })
}

fn read_number(file: &File) -> io::Result<u32> {
    let mut bytes = [0; 16];
    let length = file.read_at(&mut bytes, 0)?;
    let text = str::from_utf8(&bytes[..length]).unwrap_or_default();
    text.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The functions of the trace in which the kernel says where it failed something.
fn trace(records: &[Record]) -> Vec<String> {
    let announced = records.iter().skip_while(|record| !record.text.starts_with(ANNOUNCEMENT));
    let inside = announced.skip_while(|record| record.text.trim() != "<TASK>").skip(1);
    let inside = inside.take_while(|record| record.text.trim() != "</TASK>");
    inside.map(|record| record.text.trim_end().to_owned()).take(MOST_FRAMES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lines: &[&str]) -> Vec<Record> {
        lines.iter().map(|text| Record { level: 4, micros: 0, text: (*text).to_owned() }).collect()
    }

    #[test]
    fn the_trace_is_that_of_the_failure() {
        let log = records(&[
            "m: hello",
            "FAULT_INJECTION: forcing a failure.\nname failslab, interval 1, probability 0, space 0, times 0",
            "CPU: 0 PID: 31 Comm: init Not tainted 6.1.0 #1",
            "Call Trace:",
            " <TASK>",
            " dump_stack_lvl+0x1/0x2",
            " m_init+0x5/0x10 [m]",
            " </TASK>",
            "m: no memory",
            "Call Trace:",
            " <TASK>",
            " f+0x1/0x2",
            " </TASK>",
        ]);
        assert_eq!(trace(&log), [" dump_stack_lvl+0x1/0x2", " m_init+0x5/0x10 [m]"]);
        assert_eq!(trace(&log[8..]), [] as [&str; 0], "a trace of something else");
        assert_eq!(trace(&log[..3]), [] as [&str; 0]);
    }

    #[test]
    fn a_kernel_that_lacks_a_part_of_it_has_none() {
        let dir = std::env::temp_dir().join(format!("vexlab-failslab-{}", std::process::id()));
        let countdown = dir.join("fail-nth");
        fs::create_dir(&dir).unwrap();
        let error = || set_up_in(&dir, &countdown).map_err(|error| error.kind());
        assert_eq!(error(), Err(io::ErrorKind::NotFound), "no countdown");
        fs::write(&countdown, "").unwrap();
        assert_eq!(error(), Err(io::ErrorKind::NotFound), "no failslab");
        SETTINGS.iter().for_each(|(name, _)| fs::write(dir.join(name), "").unwrap());
        assert_eq!(error(), Ok(()));
        assert_eq!(fs::read_to_string(dir.join("ignore-gfp-wait")).unwrap(), "N");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_is_left_of_the_countdown_is_read() {
        let path = std::env::temp_dir().join(format!("vexlab-countdown-{}", std::process::id()));
        let number = |text: &str| {
            fs::write(&path, text).unwrap();
            read_number(&File::open(&path).unwrap()).map_err(|error| error.kind())
        };
        assert_eq!(number("1073741501\n"), Ok(1_073_741_501));
        assert_eq!(number(""), Err(io::ErrorKind::InvalidData));
        fs::remove_file(path).unwrap();
    }
}
