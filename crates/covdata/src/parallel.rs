//! Work on all processors, where there is enough of it.

use rayon::prelude::*;

/// Below so many bytes of input starting threads takes longer than they save.
const WORTH_BYTES: usize = 256 << 10;

/// Maps items, on all processors if they stand for this many bytes or more.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    bytes: usize,
    map: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    if bytes < WORTH_BYTES { items.iter().map(map).collect() } else { items.par_iter().map(map).collect() }
}

/// Changes items, on all processors if they stand for this many bytes or more, and does something else meanwhile.
pub(crate) fn change_while<T: Send, R>(
    items: &mut [T],
    bytes: usize,
    change: impl Fn(&mut T) + Sync + Send,
    meanwhile: impl FnOnce() -> R,
) -> R {
    if bytes < WORTH_BYTES {
        items.iter_mut().for_each(change);
        return meanwhile();
    }
    rayon::in_place_scope(|scope| {
        for item in items {
            let change = &change;
            scope.spawn(move |_| change(item));
        }
        meanwhile()
    })
}
