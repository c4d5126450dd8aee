//! Outputs and targets, batch by batch → metrics. Knows no device.

use ndarray::{Array2, ArrayD, ArrayView3, Axis};

use super::metrics::Metric;
use crate::loss::{Aim, Aimed, Measure, Objective};
use crate::model::{Axes, Flow, Model};

/// Counts over some examples.
pub(super) struct Tally {
    /// Targets by their class (rows) and the predicted class (columns).
    /// Empty before the first batch, and for losses of numbers.
    confusion: Array2<u64>,
    /// For each class the outputs, each with whether its target is of the class. Empty unless an area is asked for.
    scores: Vec<Vec<(f32, bool)>>,
    is_ranked: bool,
    /// The sum of `|y − t|`, and the number of terms.
    absolute: (f64, u64),
}

impl Tally {
    /// Makes a tally for `metrics` of an objective of one loss; returns none if there is nothing to count.
    pub(super) fn of(objective: &Objective, metrics: &[Metric]) -> Option<Self> {
        let is_counted = metrics.iter().any(|metric| *metric != Metric::Perplexity);
        if objective.terms().len() != 1 || !is_counted {
            return None;
        }
        let is_ranked = metrics.contains(&Metric::Auc);
        Some(Self { confusion: Array2::zeros((0, 0)), scores: Vec::new(), is_ranked, absolute: (0.0, 0) })
    }

    /// Counts a batch: the output `given`, and what the loss aims at.
    pub(super) fn add(&mut self, model: &Model, aim: &Aim, given: &ArrayD<f32>) {
        let given = match (aim.measured.flow, model.axes) {
            (Flow::Steps(_), Axes::TimeMajor) => given.view(),
            (Flow::Steps(_), Axes::BatchFirst) => {
                let mut given = given.view();
                given.swap_axes(0, 1);
                given
            }
            // A row is its own single step.
            _ => given.view().insert_axis(Axis(0)),
        };
        let given: ArrayView3<'_, f32> = given.into_dimensionality().expect("an output of a batch: T, B and F");
        let features = given.dim().2;
        // If the loss leaves off the last activation, the output still has it.
        let half = if aim.measured.bare.is_some() { 0.5 } else { 0.0 };
        for ((t, b), _) in aim.counts.indexed_iter().filter(|(_, weight)| **weight > 0.0) {
            let row = || (0..features).map(|feature| given[[t, b, feature]]);
            match (&aim.aimed, aim.measured.measure == Measure::BinaryCrossEntropy) {
                (Aimed::Classes(classes), _) => {
                    self.has_classes(features);
                    let class = classes[[t, b]] as usize;
                    self.confusion[[class, largest(row()).unwrap_or(class)]] += 1;
                    if self.is_ranked {
                        row().enumerate().for_each(|(at, score)| self.scores[at].push((score, at == class)));
                    }
                }
                (Aimed::Values(values), true) => {
                    self.has_classes(2);
                    for (feature, score) in row().enumerate() {
                        let is_yes = values[[t, b, feature]] > 0.5;
                        self.confusion[[usize::from(is_yes), usize::from(score > half)]] += 1;
                        if self.is_ranked {
                            self.scores[1].push((score, is_yes));
                        }
                    }
                }
                (Aimed::Values(values), false) => {
                    for (feature, y) in row().enumerate() {
                        self.absolute.0 += (f64::from(y) - f64::from(values[[t, b, feature]])).abs();
                        self.absolute.1 += 1;
                    }
                }
                (Aimed::None, _) => {}
            }
        }
    }

    fn has_classes(&mut self, classes: usize) {
        if self.confusion.is_empty() {
            self.confusion = Array2::zeros((classes, classes));
            self.scores = vec![Vec::new(); classes];
        }
    }

    /// Returns whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.confusion.is_empty() && self.absolute.1 == 0
    }

    /// Returns the targets by class, if they are of classes.
    pub(super) fn confusion(self) -> Option<Array2<u64>> {
        (!self.confusion.is_empty()).then_some(self.confusion)
    }

    /// Returns a metric of all that was counted.
    pub(super) fn value(&mut self, metric: Metric, loss: f64) -> f64 {
        match metric {
            Metric::Perplexity => loss.exp(),
            Metric::Accuracy => ratio(self.confusion.diag().sum(), self.confusion.sum()),
            Metric::Precision => self.over_classes(|[right, said, _]| ratio(right, said)),
            Metric::Recall => self.over_classes(|[right, _, there]| ratio(right, there)),
            // 2 P R / (P + R) in counts, so that P and R may both be 0/0.
            Metric::F1 => self.over_classes(|[right, said, there]| ratio(2 * right, said + there)),
            Metric::Auc => {
                let of: Vec<usize> = if self.scores.len() == 2 { vec![1] } else { (0..self.scores.len()).collect() };
                mean(of.into_iter().map(|class| area(&mut self.scores[class])))
            }
            Metric::MeanAbsoluteError => {
                #[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
                let all = self.absolute.1 as f64;
                self.absolute.0 / all
            }
        }
    }

    /// Computes `of` for the second of two classes, or its mean over more classes. `of` takes
    /// three counts: correct predictions of the class, all predictions of it, and all its targets.
    fn over_classes(&self, of: impl Fn([u64; 3]) -> f64) -> f64 {
        let value = |class: usize| {
            let said = self.confusion.column(class).sum();
            of([self.confusion[[class, class]], said, self.confusion.row(class).sum()])
        };
        match self.confusion.nrows() {
            2 => value(1),
            classes => mean((0..classes).map(value)),
        }
    }
}

/// Returns the index of the largest number, and the first of equal ones, as frameworks do.
fn largest(row: impl Iterator<Item = f32>) -> Option<usize> {
    let best = |best: Option<(usize, f32)>, (place, x): (usize, f32)| match best {
        Some((_, most)) if x <= most => best,
        _ => Some((place, x)),
    };
    row.enumerate().fold(None, best).map(|(place, _)| place)
}

/// Returns a share; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of classes")]
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}

/// Computes the area under the receiver operating characteristic curve by
/// ranks (Mann and Whitney). Equal numbers share the mean of their ranks.
#[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
fn area(scores: &mut [(f32, bool)]) -> f64 {
    scores.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
    let positives = scores.iter().filter(|(_, is)| *is).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return 0.5;
    }
    let (mut ranks, mut before) = (0.0, 0_usize);
    for ties in scores.chunk_by(|(a, _), (b, _)| a == b) {
        let rank = before as f64 + (ties.len() + 1) as f64 / 2.0;
        ranks += rank * ties.iter().filter(|(_, is)| *is).count() as f64;
        before += ties.len();
    }
    let (p, n) = (positives as f64, negatives as f64);
    (ranks - p * (p + 1.0) / 2.0) / (p * n)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    fn tally(confusion: Array2<u64>) -> Tally {
        Tally { confusion, scores: Vec::new(), is_ranked: false, absolute: (0.0, 0) }
    }

    /// Compares with values computed by hand, which scikit-learn gives too.
    #[test]
    fn metrics_of_classes_are_those_of_the_confusion() {
        let values = |confusion| {
            let mut tally = tally(confusion);
            [Metric::Accuracy, Metric::Precision, Metric::Recall, Metric::F1].map(|metric| tally.value(metric, 0.0))
        };
        // With two classes the second counts: 3 of 4 predictions are right, and 3 of 5 targets are found.
        assert_eq!(values(arr2(&[[6, 1], [2, 3]])), [0.75, 0.75, 0.6, 6.0 / 9.0]);
        // One class is never predicted, and one has no targets.
        assert_eq!(values(arr2(&[[4, 0], [2, 0]])), [4.0 / 6.0, 0.0, 0.0, 0.0]);
        let [accuracy, precision, recall, f1] = values(arr2(&[[2, 1, 1], [0, 3, 1], [0, 0, 4]]));
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
        near(accuracy, 0.75);
        near(precision, (1.0 + 0.75 + 4.0 / 6.0) / 3.0);
        near(recall, (0.5 + 0.75 + 1.0) / 3.0);
        near(f1, (2.0 / 3.0 + 0.75 + 0.8) / 3.0);
        assert!((tally(arr2(&[[1, 0], [0, 1]])).value(Metric::Perplexity, 2.0) - 2.0_f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn the_area_counts_pairs_and_equal_numbers_half() {
        let pairs = |scores: &[(f32, bool)]| {
            let of = |is: bool| scores.iter().filter(move |(_, was)| *was == is).map(|(score, _)| *score);
            let won = |p: f32, n: f32| {
                if p > n {
                    1.0
                } else if p == n {
                    0.5
                } else {
                    0.0
                }
            };
            let all: f64 = of(true).flat_map(|p| of(false).map(move |n| won(p, n))).sum();
            all / (of(true).count() * of(false).count()) as f64
        };
        let all = [
            (0.1, false),
            (0.4, true),
            (0.35, false),
            (0.8, true),
            (0.4, false),
            (0.4, true),
            (-0.5, false),
            (0.1, true),
        ];
        assert!((area(&mut all.to_vec()) - pairs(&all)).abs() < 1e-12);
        assert_eq!(area(&mut [(0.3, false), (0.9, true)]), 1.0);
        assert_eq!(area(&mut [(0.9, false), (0.3, true)]), 0.0);
        assert_eq!(area(&mut [(0.9, true), (0.3, true)]), 0.5);
    }
}
