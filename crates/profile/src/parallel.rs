//! Maps lists on all processors, where there is enough work for them.
//!
//! Threads end with the work that they were started for. If the system starts no thread, because a limit on processes is
//! reached, the calling thread does the work alone, so nothing here can fail.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// For fewer bytes of input than this, starting threads takes longer than they save.
const WORTH_BYTES: usize = 256 << 10;

/// How many threads can run at once.
pub(crate) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

/// Maps items. Uses all processors if the items' `bytes` of input are enough to be worth it.
pub(crate) fn map_bytes<T: Sync, R: Send>(items: &[T], bytes: usize, map: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if bytes < WORTH_BYTES { items.iter().map(map).collect() } else { self::map(items, map) }
}

/// Maps items on all processors. The results are in the order of the items.
pub fn map<T: Sync, R: Send>(items: &[T], map: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, map(item)));
        }
    };
    let mut done = thread::scope(|scope| {
        let helpers = 1..processors().min(items.len());
        let helpers = helpers.map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        let helpers: Vec<_> = helpers.collect();
        let mut done = work();
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..10_000).collect();
        assert_eq!(map(&items, |item| item + 1), (1..=10_000).collect::<Vec<_>>());
        assert_eq!(map(&[7], |item| item + 1), [8]);
        assert_eq!(map(&[0; 0], |item| item + 1), [0; 0]);
    }
}
