//! The order in which an epoch takes its rows: drawn from a
//! seed and the number of the epoch, the same on every machine.

use crate::random::threefry;

/// Separates these draws from all others of the same seed.
const PURPOSE: u32 = 0x6f72_6472;

/// Batches in a bucket: rows of similar lengths are looked for among the rows of this many batches.
const BUCKET: usize = 50;

/// Returns the rows of an epoch whose batches hold rows of similar lengths. The rows of [`BUCKET`]
/// batches at a time are sorted by length, longest first. Then the batches are shuffled.
///
/// The batch that has fewer rows than the others comes last.
pub(super) fn bucketed(lengths: &[usize], batch_size: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order = shuffled(lengths.len(), seed, epoch);
    for rows in order.chunks_mut(batch_size.saturating_mul(BUCKET)) {
        // Stable, so that rows of one length stay as they were drawn.
        rows.sort_by_key(|row| std::cmp::Reverse(lengths[*row]));
    }
    let whole = lengths.len() / batch_size;
    let batches: Vec<&[usize]> = order.chunks(batch_size).collect();
    let drawn = shuffled(whole, seed ^ u64::from(PURPOSE), epoch);
    drawn.into_iter().chain(whole..batches.len()).flat_map(|batch| batches[batch].iter().copied()).collect()
}

/// Returns the rows in the order of an epoch: a Fisher–Yates shuffle with random numbers without a state.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken; a product of a fraction and n is below n")]
pub(super) fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let halves = |x: u64| [x as u32, (x >> 32) as u32];
    let [low, high] = halves(epoch);
    let [[first], [second]] = threefry(halves(seed), PURPOSE ^ high, [low]);
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        let [low, high] = halves(last as u64);
        let [[a], [b]] = threefry([first, second], high, [low]);
        let word = u64::from(a) << 32 | u64::from(b);
        order.swap(last, ((u128::from(word) * (last as u128 + 1)) >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_each_row_once_and_is_the_same_everywhere() {
        // Computed by another program from the same words.
        assert_eq!(shuffled(8, 0, 1), [4, 1, 7, 6, 0, 2, 3, 5]);
        assert_eq!(shuffled(8, 7, 2), [2, 6, 3, 5, 1, 0, 7, 4]);
        let mut orders = vec![shuffled(100, 0, 1), shuffled(100, 0, 2), shuffled(100, 1, 1), shuffled(100, 1 << 32, 1)];
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 4);
        for mut order in orders {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..100));
        }
        assert!(shuffled(0, 0, 1).is_empty() && shuffled(1, 0, 1) == [0]);
    }

    #[test]
    fn every_row_comes_first_about_as_often() {
        let mut counts = [0_u32; 5];
        (1..=1000).for_each(|epoch| counts[shuffled(5, 7, epoch)[0]] += 1);
        assert!(counts.iter().all(|&count| (150..250).contains(&count)), "{counts:?}");
    }
}
