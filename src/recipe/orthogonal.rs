//! Orthogonal matrices: the factor Q of a normal matrix, each column with the sign of R's diagonal.
//!
//! They are made by the modified Gram–Schmidt process, in which R's diagonal is positive. So Q is the one that
//! PyTorch (P `nn/init.py`) and Keras (K `initializers/random_initializers.py`) make of any Q by those signs. Each
//! vector meets those before it in one order, whichever thread computes it: the bits do not depend on threads.

use crate::platform::parallel::*;

/// Vectors that are processed together: as many as stay in a cache while those after them pass by.
const BLOCK: usize = 16;

/// The sums of a product that run side by side.
const LANES: usize = 8;

/// Makes the vectors in `vectors` orthonormal. Each has length
/// `len`, they lie one after the other, and there are at most `len`.
pub(super) fn orthonormalise(vectors: &mut [f64], len: usize) {
    let mut rest = vectors;
    while !rest.is_empty() {
        let (block, after) = rest.split_at_mut((BLOCK * len).min(rest.len()));
        for at in 0..block.len() / len {
            let (before, own) = block.split_at_mut(at * len);
            let own = &mut own[..len];
            before.chunks(len).for_each(|other| turn_away(own, other));
            let length = dot(own, own).sqrt();
            own.iter_mut().for_each(|x| *x /= length);
        }
        let block = &*block;
        after.par_chunks_mut(len).for_each(|own| block.chunks(len).for_each(|other| turn_away(own, other)));
        rest = after;
    }
}

/// Subtracts from `own` its part along `other`, which has length 1.
fn turn_away(own: &mut [f64], other: &[f64]) {
    let along = dot(own, other);
    own.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
}

/// Returns the product of two vectors: eight sums side by side, then the sum of these.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut sums = [0.0; LANES];
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter_mut().zip(a.remainder().iter().zip(b.remainder())).for_each(|(sum, (a, b))| *sum += a * b);
    sums.iter().fold(0.0, |all, sum| all + sum)
}

#[cfg(test)]
mod tests {
    use super::super::draw::Draws;
    use super::*;

    #[test]
    fn vectors_are_orthonormal_and_those_of_a_factorisation_with_a_positive_diagonal() {
        for (count, len) in [(1, 1), (1, 5), (3, 3), (16, 16), (17, 40), (50, 131), (128, 128)] {
            let mut normal = vec![0.0; count * len];
            Draws::new(7, 0).normal(0, &mut normal);
            let mut vectors = normal.clone();
            orthonormalise(&mut vectors, len);
            let vector = |of: &[f64], at: usize| of[at * len..][..len].to_vec();
            for i in 0..count {
                for j in 0..count {
                    let identity = if i == j { 1.0 } else { 0.0 };
                    let product = dot(&vector(&vectors, i), &vector(&vectors, j));
                    assert!((product - identity).abs() < 1e-11, "{count}×{len}: {i}, {j}: {product}");
                    // R = QᵀA is upper triangular.
                    let r = dot(&vector(&vectors, i), &vector(&normal, j));
                    assert!(i <= j || r.abs() < 1e-11, "{count}×{len}: R[{i}, {j}] = {r}");
                    assert!(i != j || r > 0.0, "{count}×{len}: R[{i}, {j}] = {r}");
                }
            }
        }
    }
}
