//! Faults of simulated servers, and when they hold.

use std::str::FromStr;
use std::time::Duration;

/// What is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It answers nothing, or nothing to one endpoint.
    Silent(Option<String>),
    /// It answers only after so long.
    Late(Duration),
    /// It sends each answer twice.
    Twice,
    /// It answers with something else, except to STATSZ, or to one endpoint only.
    Garbage(Option<String>),
    /// Its pages of connections end in the middle.
    HalfPage,
    /// So many percent of the connections before a page are closed when the page is asked for, so that it begins
    /// further on.
    Shifting(u8),
    /// It says that it has a third of the connections it has.
    WrongTotal,
    /// It is not there before.
    Appear,
    /// It is gone without a word.
    Vanish,
    /// It is there with a new id.
    Restart,
}

impl Kind {
    /// The name on the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Late(_) => "late",
            Self::Twice => "twice",
            Self::Garbage(_) => "garbage",
            Self::HalfPage => "half-page",
            Self::Shifting(_) => "shifting",
            Self::WrongTotal => "wrong-total",
            Self::Appear => "appear",
            Self::Vanish => "vanish",
            Self::Restart => "restart",
        }
    }
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// From the n-th roll call on (`$SYS.REQ.SERVER.PING.STATSZ`), counted from 1.
    RollCall(u64),
    /// From so long after the start on.
    After(Duration),
}

impl When {
    fn reached(self, roll_call: u64, since_start: Duration) -> bool {
        match self {
            Self::RollCall(number) => roll_call >= number,
            Self::After(time) => since_start >= time,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(number) => Some(Self::RollCall(number)),
            Err(_) => humantime::parse_duration(text).ok().map(Self::After),
        }
    }
}

/// A fault of some servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// With how many servers.
    pub servers: u32,
    /// From when on; none from the start.
    pub from: Option<When>,
    /// Until when; none for ever.
    pub to: Option<When>,
}

impl Fault {
    /// Whether it holds at this moment.
    pub fn holds(&self, roll_call: u64, since_start: Duration) -> bool {
        self.from.is_none_or(|from| from.reached(roll_call, since_start))
            && !self.to.is_some_and(|to| to.reached(roll_call, since_start))
    }
}

/// A text that is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: write NAME=COUNT[:HOW][@FROM[..TO]], such as silent=2, silent=1:CONNZ, late=1:2s, twice=1, \
     garbage=1, half-page=1, shifting=1:5 (percent), wrong-total=1, appear=1@3, vanish=1@3, restart=1@90s or \
     silent=1@3..5; FROM and TO are numbers of roll calls, or times since the start such as 30s"
)]
pub struct NoFault(String);

/// Where appearing, vanishing and restarting happen unless it is said: the first roll call is the agent's self-test.
const CHANGE: When = When::RollCall(3);
/// How late a late answer is, unless it is said.
const LATE: Duration = Duration::from_secs(2);
/// How much a shifting page shifts, unless it is said, in percent of its offset.
const SHIFT: u8 = 5;

impl FromStr for Fault {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        parse(text).ok_or_else(|| NoFault(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    let (what, when) = text.split_once('@').map_or((text, None), |(what, when)| (what, Some(when)));
    let (name, rest) = what.split_once('=')?;
    let (count, how) = rest.split_once(':').map_or((rest, None), |(count, how)| (count, Some(how)));
    let servers = count.parse().ok()?;
    let endpoint = |how: Option<&str>| match how {
        None => Some(None),
        Some(how) if !how.is_empty() && how.bytes().all(|b| b.is_ascii_alphabetic()) => {
            Some(Some(how.to_ascii_uppercase()))
        }
        Some(_) => None,
    };
    let kind = match (name, how) {
        ("silent", how) => Kind::Silent(endpoint(how)?),
        ("garbage", how) => Kind::Garbage(endpoint(how)?),
        ("late", None) => Kind::Late(LATE),
        ("late", Some(how)) => Kind::Late(humantime::parse_duration(how).ok()?),
        ("shifting", None) => Kind::Shifting(SHIFT),
        ("shifting", Some(how)) => {
            Kind::Shifting(how.parse().ok().filter(|percent| (1..=90).contains(percent))?)
        }
        ("twice", None) => Kind::Twice,
        ("half-page", None) => Kind::HalfPage,
        ("wrong-total", None) => Kind::WrongTotal,
        ("appear", None) => Kind::Appear,
        ("vanish", None) => Kind::Vanish,
        ("restart", None) => Kind::Restart,
        _ => return None,
    };
    let changes = matches!(kind, Kind::Appear | Kind::Vanish | Kind::Restart);
    let (from, to) = match when {
        None => (changes.then_some(CHANGE), None),
        Some(when) => match when.split_once("..") {
            None => (Some(When::parse(when)?), None),
            Some((from, to)) => (Some(When::parse(from)?), Some(When::parse(to)?)),
        },
    };
    Some(Fault { kind, servers, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let fault = |text: &str| text.parse::<Fault>().unwrap();
        let all = Fault { kind: Kind::Silent(None), servers: 2, from: None, to: None };
        assert_eq!(fault("silent=2"), all);
        assert_eq!(fault("silent=1:connz").kind, Kind::Silent(Some("CONNZ".into())));
        assert_eq!(fault("late=1:500ms").kind, Kind::Late(Duration::from_millis(500)));
        assert_eq!(fault("shifting=1:7").kind, Kind::Shifting(7));
        assert_eq!(fault("restart=1").from, Some(CHANGE));
        let window = fault("vanish=1@2..30s");
        assert_eq!(window.from, Some(When::RollCall(2)));
        assert_eq!(window.to, Some(When::After(Duration::from_secs(30))));
        for bad in [
            "",
            "silent",
            "silent=",
            "silent=x",
            "silent=1:a b",
            "silent=1@",
            "silent=1@3..",
            "twice=1:2",
            "late=1:x",
            "shifting=1:0",
            "shifting=1:91",
            "explode=1",
            "silent=1@x",
        ] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_window_has_a_beginning_and_an_end() {
        let fault: Fault = "silent=1@3..5".parse().unwrap();
        let holds: Vec<bool> = (1..=6).map(|call| fault.holds(call, Duration::ZERO)).collect();
        assert_eq!(holds, [false, false, true, true, false, false]);
        let fault: Fault = "silent=1@10s".parse().unwrap();
        assert!(!fault.holds(99, Duration::from_secs(9)) && fault.holds(0, Duration::from_secs(10)));
    }
}
