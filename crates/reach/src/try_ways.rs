//! Trying ways until one leads to the counters: retry, fallback, deadline, wording.

use std::fmt::Display;
use std::time::Duration;

use podcov_cluster::{Fate, Pauses};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::fault::Fault;
use crate::way::Way;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long to try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many tries may fail. While the container is starting again, none counts.
    pub(crate) tries: u32,
    /// How long after a way's first try its last one may begin.
    pub(crate) patience: Duration,
    /// How long a container that is starting again may take.
    pub(crate) restart: Duration,
    /// How long a try may take.
    pub(crate) attempt: Duration,
    /// The first pause between two tries; each next one is three times as long. So often, too, is looked whether a
    /// container runs again.
    pub(crate) pause: Duration,
}

/// The result of all tries.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The name of the way that was tried last.
    pub way: &'static str,
    /// How many tries it took.
    pub tries: u32,
    /// The result, or why no way led to the counters.
    pub result: Result<T, String>,
}

/// Tries the ways to a container in their order. One that is absent gives way to the next; what may pass is tried again by the same one.
///
/// `fate` tells what has happened to the container since it was found. A container that is over gets no other try. One
/// that is starting again is waited for and tried again, for a fault says nothing about a container that does not run.
pub(crate) async fn try_ways<'a, T>(
    container: &impl Display,
    mut ways: Vec<Box<dyn Way + 'a>>,
    limits: Limits,
    fate: impl AsyncFn() -> Option<Fate>,
    mut attempt: impl AsyncFnMut(&mut Box<dyn Way + 'a>) -> Result<T, Fault>,
) -> Outcome<T> {
    let mut begun = Instant::now();
    let mut pauses = Pauses::new(limits.pause, 3, LONGEST_PAUSE);
    let mut restart_deadline = None;
    let (mut at, mut furthest, mut absent, mut tries) = (0, 0, Vec::new(), 0);
    loop {
        let way = &mut ways[at];
        let name = way.name();
        let tried = timeout(limits.attempt, attempt(way)).await.unwrap_or_else(|_| {
            Err(Fault::Passing(format!("not done within {}s", limits.attempt.as_secs_f32())))
        });
        let fault = match tried {
            Ok(done) => return Outcome { way: name, tries: tries + 1, result: Ok(done) },
            Err(fault) => fault,
        };
        tracing::info!("{container}: {name}: {fault}");
        if let Fault::Absent(why) = &fault
            && at + 1 < ways.len()
        {
            absent.push(why.clone());
            at += 1;
            if at > furthest {
                // What the ways before it took is not its time. Only once, or the tries would have no end.
                (furthest, begun) = (at, Instant::now());
            }
            continue;
        }
        let mut now = fate().await;
        if is_restarting(now.as_ref()) && !matches!(fault, Fault::Final(_)) {
            let deadline = *restart_deadline.get_or_insert_with(|| Instant::now() + limits.restart);
            let _ = timeout_at(deadline, async {
                while is_restarting(now.as_ref()) {
                    sleep(limits.pause).await;
                    now = fate().await;
                }
            })
            .await;
            if matches!(now, None | Some(Fate::Restarted)) {
                // A way that has asked the program for something goes on with that.
                if let Fault::Absent(_) = fault {
                    (at, absent) = (0, Vec::new());
                }
                continue;
            }
        }
        tries += 1;
        let again = match (&fault, &now) {
            (Fault::Passing(_), None | Some(Fate::Restarted)) | (Fault::Absent(_), Some(Fate::Restarted)) => {
                tries < limits.tries && begun.elapsed() < limits.patience
            }
            _ => false,
        };
        if !again {
            let message = match &now {
                Some(fate) => ways[at].explain(&fault, fate),
                None => fault.to_string(),
            };
            return Outcome { way: name, tries, result: Err(join(&message, &fault, &absent)) };
        }
        if let Fault::Absent(_) = fault {
            (at, absent) = (0, Vec::new());
        }
        pauses.wait().await;
    }
}

fn is_restarting(fate: Option<&Fate>) -> bool {
    matches!(fate, Some(Fate::Restarting(_)))
}

/// The last message with why the ways before were absent, in the order of the tries where all were.
fn join(message: &str, fault: &Fault, absent: &[String]) -> String {
    let before = absent.iter().map(String::as_str);
    let all: Vec<&str> = match fault {
        Fault::Absent(_) => before.chain([message]).collect(),
        Fault::Passing(_) | Fault::Final(_) => [message].into_iter().chain(before).collect(),
    };
    let different = all.iter().enumerate().filter(|(at, text)| !all[..*at].contains(text));
    different.map(|(_, text)| *text).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;

    use super::*;
    use crate::archive::ArchiveStream;
    use crate::way::WrittenCounters;

    /// A way that exists in these tests alone. Its tries end as they are written down, the last one again and again.
    struct Scripted {
        name: &'static str,
        tries: VecDeque<Result<(), Fault>>,
    }

    impl Way for Scripted {
        fn name(&self) -> &'static str {
            self.name
        }

        fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
            async { Ok(()) }.boxed()
        }

        fn flush(&mut self) -> BoxFuture<'_, Result<WrittenCounters, Fault>> {
            let next =
                if self.tries.len() > 1 { self.tries.pop_front() } else { self.tries.front().cloned() };
            async { next.expect("a way has a try").map(|()| WrittenCounters::default()) }.boxed()
        }

        fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
            async { Err(Fault::Absent("it has none".to_owned())) }.boxed()
        }
    }

    fn way<const N: usize>(name: &'static str, tries: [Result<(), Fault>; N]) -> Box<dyn Way> {
        Box::new(Scripted { name, tries: tries.into() })
    }

    fn absent(why: &str) -> Result<(), Fault> {
        Err(Fault::Absent(why.to_owned()))
    }

    fn passing(why: &str) -> Result<(), Fault> {
        Err(Fault::Passing(why.to_owned()))
    }

    fn last(why: &str) -> Result<(), Fault> {
        Err(Fault::Final(why.to_owned()))
    }

    fn over() -> Option<Fate> {
        Some(Fate::Over("the pod is gone".to_owned()))
    }

    fn restarting() -> Option<Fate> {
        Some(Fate::Restarting("the container stopped running (Error)".to_owned()))
    }

    const LIMITS: Limits = Limits {
        tries: 4,
        patience: Duration::MAX,
        restart: Duration::from_millis(20),
        attempt: Duration::MAX,
        pause: Duration::from_millis(1),
    };

    /// The names of the ways in the order of the tries, and the outcome. The container's fates come one after the other,
    /// the last one again and again.
    async fn try_all(
        ways: Vec<Box<dyn Way>>,
        limits: Limits,
        fates: Vec<Option<Fate>>,
    ) -> (String, Outcome<WrittenCounters>) {
        let tried = RefCell::new(Vec::new());
        let fates = RefCell::new(VecDeque::from(fates));
        let fate = async || {
            let mut fates = fates.borrow_mut();
            if fates.len() > 1 { fates.pop_front().flatten() } else { fates.front().cloned().flatten() }
        };
        let outcome = try_ways(&"app", ways, limits, fate, async |way| {
            tried.borrow_mut().push(way.name());
            way.flush().await
        })
        .await;
        (tried.into_inner().join(" "), outcome)
    }

    fn message(outcome: &Outcome<WrittenCounters>) -> &str {
        outcome.result.as_ref().expect_err("no way leads there")
    }

    #[tokio::test]
    async fn what_is_absent_gives_way_to_the_next() {
        let ways = vec![way("a", [absent("no a")]), way("b", [Ok(())]), way("c", [Ok(())])];
        let (tried, outcome) = try_all(ways, LIMITS, vec![None]).await;
        assert_eq!((tried.as_str(), outcome.way, outcome.tries), ("a b", "b", 1));
        let ways = vec![way("a", [absent("no a")]), way("b", [absent("no b")]), way("c", [absent("no b")])];
        let (tried, outcome) = try_all(ways, LIMITS, vec![None]).await;
        assert_eq!((tried.as_str(), message(&outcome), outcome.tries), ("a b c", "no a; no b", 1));
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_by_the_same_way() {
        let ways = vec![way("a", [passing("busy"), Ok(())]), way("b", [Ok(())])];
        let (tried, outcome) = try_all(ways, LIMITS, vec![None]).await;
        assert_eq!((tried.as_str(), outcome.tries), ("a a", 2));
        let begun = Instant::now();
        let ways = vec![way("a", [passing("busy")]), way("b", [Ok(())])];
        let (tried, outcome) = try_all(ways, LIMITS, vec![None]).await;
        assert_eq!((tried.as_str(), message(&outcome)), ("a a a a", "busy"));
        assert!(begun.elapsed() >= LIMITS.pause * (1 + 3 + 9));
        let limits = Limits { tries: u32::MAX, patience: Duration::from_millis(30), ..LIMITS };
        let begun = Instant::now();
        let (_, outcome) = try_all(vec![way("a", [passing("busy")])], limits, vec![None]).await;
        assert!(begun.elapsed() >= limits.patience && outcome.tries <= 5, "{outcome:?}");
    }

    #[tokio::test]
    async fn what_is_final_ends_it_and_names_what_was_absent() {
        let ways = vec![way("a", [absent("no a")]), way("b", [last("refused")]), way("c", [Ok(())])];
        let (tried, outcome) = try_all(ways, LIMITS, vec![Some(Fate::Restarted)]).await;
        assert_eq!((tried.as_str(), message(&outcome)), ("a b", "refused; no a"));
    }

    #[tokio::test]
    async fn a_container_that_is_over_has_no_other_try() {
        for try_ in [passing("cut"), absent("cut")] {
            let (tried, outcome) = try_all(vec![way("a", [try_])], LIMITS, vec![over()]).await;
            assert_eq!((tried.as_str(), message(&outcome)), ("a", "the pod is gone (cut)"));
        }
    }

    #[tokio::test]
    async fn a_container_that_is_starting_again_is_waited_for() {
        // Whatever the runtime said meanwhile, which does not count.
        let ways = || vec![way("a", [absent("no a"), Ok(())]), way("b", [absent("no b")])];
        let fates = vec![restarting(), restarting(), None];
        let (tried, outcome) = try_all(ways(), Limits { tries: 1, ..LIMITS }, fates).await;
        assert_eq!((tried.as_str(), outcome.tries), ("a b a", 1));
        // One that has asked the program goes on.
        let asked = vec![way("a", [absent("no a")]), way("b", [passing("cut"), Ok(())])];
        let (tried, _) = try_all(asked, LIMITS, vec![restarting(), Some(Fate::Restarted)]).await;
        assert_eq!(tried, "a b b");
        let begun = Instant::now();
        let (tried, outcome) = try_all(ways(), LIMITS, vec![restarting()]).await;
        assert!(tried == "a b" && begun.elapsed() >= LIMITS.restart, "{tried}");
        assert_eq!(message(&outcome), "no a; the container stopped running (Error) (no b)");
        let (tried, outcome) = try_all(ways(), LIMITS, vec![restarting(), over()]).await;
        assert_eq!((tried.as_str(), message(&outcome)), ("a b", "no a; the pod is gone (no b)"));
        // It has been started again unseen.
        let (tried, _) = try_all(ways(), LIMITS, vec![Some(Fate::Restarted)]).await;
        assert_eq!(tried, "a b a");
    }

    /// The API server does not answer any more.
    #[tokio::test]
    async fn a_look_at_the_container_takes_no_longer_than_its_restart_may() {
        let looks = Cell::new(0);
        let fate = async || {
            looks.set(looks.get() + 1);
            if looks.get() > 1 {
                std::future::pending::<()>().await;
            }
            restarting()
        };
        let ways = vec![way("a", [passing("cut")])];
        let trying =
            try_ways(&"app", ways, Limits { tries: 1, ..LIMITS }, fate, async |way| way.flush().await);
        let outcome =
            timeout(Duration::from_secs(60), trying).await.expect("it does not wait for the answer");
        assert_eq!(message(&outcome), "the container stopped running (Error) (cut)");
        assert_eq!(looks.get(), 2);
    }

    #[tokio::test]
    async fn a_way_has_its_own_time() {
        let limits = Limits { patience: Duration::from_millis(20), tries: u32::MAX, ..LIMITS };
        let ways = vec![way("a", [absent("no a")]), way("b", [passing("cut"), Ok(())])];
        let outcome = try_ways(
            &"app",
            ways,
            limits,
            async || None,
            async |way| {
                if way.name() == "a" {
                    sleep(limits.patience * 2).await;
                }
                way.flush().await
            },
        )
        .await;
        assert_eq!((outcome.result.is_ok(), outcome.tries), (true, 2));
        // Once: ways that are absent again and again come to an end.
        let ways = vec![way("a", [absent("no a")]), way("b", [absent("no b")])];
        let (_, outcome) = try_all(ways, limits, vec![Some(Fate::Restarted)]).await;
        assert!(outcome.result.is_err());
    }

    #[tokio::test]
    async fn a_try_has_its_time() {
        let limits = Limits { tries: 2, attempt: Duration::from_millis(3), ..LIMITS };
        let outcome: Outcome<()> = try_ways(
            &"app",
            vec![way("a", [Ok(())])],
            limits,
            async || None,
            async |_| std::future::pending().await,
        )
        .await;
        assert_eq!((outcome.tries, outcome.result.unwrap_err().as_str()), (2, "not done within 0.003s"));
    }
}
