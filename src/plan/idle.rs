//! What executors keep of plans between calls, for the next call with the same plan.
//!
//! A call takes a set of buffers out and puts it back when it is done. A second call
//! at the same time makes a second set. Knows counts and bytes; knows no buffer.

/// The most sets that are kept: as many as an engine keeps plans.
const SETS: usize = 16;
/// The most bytes of all sets. The last used set is kept whatever its size.
const BYTES: u64 = 256 << 20;

/// Idle sets of buffers, the last used first.
pub(crate) struct Idle<T> {
    sets: Vec<(T, u64)>,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self { sets: Vec::with_capacity(SETS + 1) }
    }
}

impl<T> Idle<T> {
    /// Takes the last used set that `fits` accepts.
    pub(crate) fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let index = self.sets.iter().position(|(set, _)| fits(set))?;
        Some(self.sets.remove(index).0)
    }

    /// Keeps a set of `bytes`. If there is no room, the sets that were used longest ago are dropped.
    pub(crate) fn put(&mut self, set: T, bytes: u64) {
        self.sets.insert(0, (set, bytes));
        let mut total = 0_u64;
        let fits = self.sets.iter().take(SETS).take_while(|(_, bytes)| {
            total = total.saturating_add(*bytes);
            total <= BYTES
        });
        let most = fits.count().max(1);
        self.sets.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: &[u64]) -> Vec<usize> {
        let mut idle = Idle::default();
        bytes.iter().enumerate().for_each(|(set, &bytes)| idle.put(set, bytes));
        (0..bytes.len()).filter(|&set| idle.take(|&kept| kept == set).is_some()).collect()
    }

    #[test]
    fn the_last_used_sets_stay() {
        assert_eq!(kept(&[1; SETS + 2]), (2..SETS + 2).collect::<Vec<_>>());
    }

    #[test]
    fn large_sets_leave_room_for_fewer_and_the_last_always_stays() {
        assert_eq!(kept(&[BYTES / 2, BYTES / 2, BYTES / 4]), [1, 2]);
        assert_eq!(kept(&[1, 2 * BYTES]), [1]);
        assert_eq!(kept(&[2 * BYTES, 1]), [1]);
    }

    #[test]
    fn what_was_taken_is_not_at_rest() {
        let mut idle = Idle::default();
        idle.put('a', 1);
        assert_eq!((idle.take(|_| true), idle.take(|_| true)), (Some('a'), None));
    }
}
