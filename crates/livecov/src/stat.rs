//! What Linux tells of its processes as text. See `proc_pid_stat(5)` and `proc_stat(5)`.

/// What the kernel counts times in, for all processors that are supported: ticks of a hundredth of a second.
const NANOS_A_TICK: u64 = 10_000_000;

/// A process, as its `/proc/PID/stat` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its name: the first 15 bytes of the program's.
    pub name: String,
    /// The number of its parent; 0 if that is outside of the container.
    pub parent: u32,
    /// When it was started: in hundredths of a second since the machine's boot. It stays when the process runs another
    /// program.
    pub start_ticks: u64,
}

impl Stat {
    /// Parses the content of a `/proc/PID/stat`. `None` if it is no such text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The name is in parentheses, and may contain some.
        let text = String::from_utf8_lossy(text);
        let (start, rest) = text.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        // The fields from the third on: the fourth is the parent, the 22nd the start.
        let mut fields = rest.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Self { name: name.to_owned(), parent, start_ticks })
    }

    /// When it was started, in nanoseconds since 1970-01-01 UTC; up to a second early, for the kernel tells the boot's
    /// time, which is what [`boot_time`] gives, in whole seconds. Starts of one machine compare to a hundredth of a second.
    #[must_use]
    pub fn started(&self, boot_time: u64) -> u64 {
        boot_time.saturating_mul(1_000_000_000).saturating_add(self.start_ticks.saturating_mul(NANOS_A_TICK))
    }
}

/// When the machine was booted, in seconds since 1970-01-01 UTC: `btime` in the content of `/proc/stat`. `None` if it
/// is not there.
#[must_use]
pub fn boot_time(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let time = lines.find_map(|line| line.strip_prefix(b"btime "))?;
    str::from_utf8(time).ok()?.trim_ascii().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.12 writes them.
    const STAT: &str = "4242 (a) (b ) S 17 4242 17 34816 4242 4194304 1190 0 0 0 3 5 0 0 20 0 6 0 93012345 1269743616 \
                        1011 18446744073709551615 4194304 5111521 140721 0 0 0 0 0 2143420159 0 0 0 17 1 0 0 0 0 0\n";
    const MACHINE: &str = "cpu  10 20 30\nintr 5 1 btime 9\nctxt 77\nbtime 1795000000\nprocesses 1\n";

    #[test]
    fn a_process_has_a_name_a_parent_and_a_start() {
        let stat = Stat::parse(STAT.as_bytes()).expect("a process");
        assert_eq!(stat, Stat { name: "a) (b ".to_owned(), parent: 17, start_ticks: 93_012_345 });
        assert_eq!(boot_time(MACHINE.as_bytes()), Some(1_795_000_000));
        assert_eq!(stat.started(1_795_000_000), 1_795_930_123_450_000_000);
    }

    #[test]
    fn what_is_cut_off_is_no_process() {
        let needed = STAT.find(" 1269743616").expect("the field after the start");
        for length in 0..STAT.len() {
            let parsed = Stat::parse(&STAT.as_bytes()[..length]);
            // A part of a number is a number.
            assert_eq!(parsed.is_some(), length > needed - "93012345".len(), "{length}");
        }
        assert_eq!(boot_time(b"btime \n"), None);
        assert_eq!(boot_time(b"xbtime 5\n"), None);
    }
}
