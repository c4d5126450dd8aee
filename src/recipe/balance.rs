//! Class weights that let all classes count alike.

/// Returns `all / (classes · count)` for each class (scikit-learn's `balanced`), or 1 for a class that nothing has.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
pub(crate) fn balanced(counts: &[u64]) -> Vec<f32> {
    let share = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|count| if *count > 0 { (share / *count as f64) as f32 } else { 1.0 }).collect()
}
