//! Batches of a dataset: whole, short, and with rows that do not fit.

use ndarray::{Array, Array1, Array2};

use super::*;
use crate::engine::Device;
use crate::loss::CrossEntropy;
use crate::model::{Direction, Embedding, Linear, Lstm, Select};
use crate::recipe::{Convention, Sgd, Update};
use crate::trainer::Trainer;
use crate::weights::Weights;

/// Returns a model and a dataset with targets for each step, so that these are cut as well.
fn tagged(lengths: &[i64], steps: usize, padded_first: bool) -> (Model, Dataset) {
    let model =
        Model::new().layer(Embedding::new(7, 4)).layer(Lstm::new(4, 5).bidirectional()).layer(Linear::new(10, 3));
    let tokens = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b * 5 + t * 3) % 7) as i64);
    let tags = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b + t) % 3) as i64);
    let tensors = NamedTensors::from([
        ("x".to_owned(), tokens.into_dyn().into()),
        tells(lengths, steps, padded_first),
        ("y".to_owned(), tags.into_dyn().into()),
    ]);
    let data = Dataset::new(&model, CrossEntropy::default(), tensors).unwrap();
    (model, data)
}

/// Returns the tensor that says where each row has steps: lengths, or a mask if padding comes first.
fn tells(lengths: &[i64], steps: usize, padded_first: bool) -> (String, Values) {
    let live = |(row, step): (usize, usize)| f32::from(u8::from((steps - step) as i64 <= lengths[row]));
    match padded_first {
        true => ("mask".to_owned(), Array2::from_shape_fn((lengths.len(), steps), live).into()),
        false => ("lengths".to_owned(), Array1::from(lengths.to_vec()).into()),
    }
}

/// Returns the steps that are kept of these rows.
fn kept(data: &Dataset, rows: &[usize]) -> Option<Range<usize>> {
    let lengths = data.lengths().unwrap();
    data.kept(&data.tensors(rows).unwrap(), rows.iter().map(|row| lengths[*row]).max().unwrap())
}

#[test]
fn a_short_batch_has_the_gradients_of_the_whole() {
    for padded_first in [false, true] {
        short_batches(padded_first);
    }
}

fn short_batches(padded_first: bool) {
    let (model, data) = tagged(&[3, 18, 1, 7, 5, 4], 19, padded_first);
    let weights = Weights::initial(&model, Convention::Torch, 3).unwrap();
    let update = Update::by(Sgd::like(Convention::Torch));
    let trainer = Trainer::new(model, &weights, CrossEntropy::default(), update, Device::Cpu).unwrap();
    for (rows, steps) in [(&[0, 2, 4][..], 5), (&[5, 3], 10), (&[2], 5), (&[1, 0], 19)] {
        let lengths = data.lengths().unwrap();
        let wanted = if padded_first { 19 - steps..19 } else { 0..steps };
        assert_eq!(kept(&data, rows), Some(wanted), "{rows:?}");
        let [short, whole] =
            [data.laid_out(rows, lengths), data.batch(rows)].map(|batch| trainer.gradients(&batch.unwrap()).unwrap());
        assert_eq!((short.loss, short.weights), (whole.loss, whole.weights), "{rows:?}");
    }
}

#[test]
fn the_last_index_is_kept_where_it_is_read() {
    let [lengths, mask] = [false, true].map(|padded_first| tells(&[8, 2], 8, padded_first));
    use Direction::{Backwards, Both, Forward, Reverse};
    use Select::{LastOutput, LastStep};
    for (tells, all) in [
        (&lengths, [(Forward, [None, None]), (Both, [None, None]), (Reverse, [None, Some(0..2)])]),
        // A direction that goes back ends at the first index.
        (&mask, [(Forward, [Some(6..8), Some(6..8)]), (Both, [Some(6..8), None]), (Reverse, [Some(6..8), None])]),
        (&lengths, [(Backwards, [None, None]), (Forward, [None, None]), (Both, [None, None])]),
        (&mask, [(Backwards, [None, None]), (Forward, [Some(6..8), Some(6..8)]), (Both, [Some(6..8), None])]),
    ] {
        let cases =
            all.into_iter().flat_map(|(to, wanted)| [LastStep, LastOutput].map(|s| (to, s)).into_iter().zip(wanted));
        for ((direction, select), wanted) in cases {
            let stack = Lstm::new(2, 3).direction(direction);
            let features = if direction == Both { 6 } else { 3 };
            let model = Model::new().layer(stack).layer(select);
            let tensors = NamedTensors::from([
                ("x".to_owned(), Array::<f32, _>::ones((2, 8, 2)).into()),
                tells.clone(),
                ("y".to_owned(), Array::<f32, _>::zeros((2, features)).into()),
            ]);
            let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
            assert_eq!(kept(&data, &[1]), wanted, "{direction:?} {select:?} {tells:?}");
        }
    }
}

#[test]
fn a_batch_is_whole_where_both_ends_are_padded() {
    let model = Model::new().layer(Lstm::new(2, 3)).layer(Select::FinalHidden);
    let mask = ndarray::arr2(&[[0.0_f32, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]]);
    let tensors = NamedTensors::from([
        ("x".to_owned(), Array::<f32, _>::ones((3, 4, 2)).into()),
        ("mask".to_owned(), mask.into()),
        ("y".to_owned(), Array::<f32, _>::zeros((3, 3)).into()),
    ]);
    let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
    assert_eq!(data.lengths().unwrap(), [1, 1, 2]);
    assert_eq!([&[0, 1][..], &[1, 2], &[0]].map(|rows| kept(&data, rows)), [None, Some(2..4), None]);
}

/// Examples laid out row by row: row `wrong` has an unknown class; if `more`, there is one row more than was asked for.
#[derive(Debug)]
struct Laid {
    wrong: usize,
    more: bool,
}

impl Examples for Laid {
    fn rows(&self) -> usize {
        9
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let more = usize::from(self.more && rows.len() > 1);
        // The first row does not count.
        let class = |row: &usize| if *row == self.wrong { 3 } else { [-100, 1][usize::from(*row > 0)] };
        let classes: Array1<i64> = rows.iter().map(class).collect();
        let classes = [classes, Array1::zeros(more)].iter().flatten().copied().collect::<Array1<i64>>();
        let x = Array::<f32, _>::ones((rows.len() + more, 8, 2));
        Ok([("x".to_owned(), x.into()), ("y".to_owned(), classes.into())].into())
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        Some(vec![8; 7])
    }
}

#[test]
fn examples_that_do_not_fit_are_told_by_their_row() {
    let model = Model::new().layer(Lstm::new(2, 3)).layer(Select::FinalHidden);
    let data = |laid| Dataset::of(&model, CrossEntropy::default(), laid).unwrap();
    let [_, last] = data(Laid { wrong: 7, more: false }).split(0.5).unwrap();
    assert!(last.batch(&[0, 1]).is_ok());
    let all = data(Laid { wrong: 7, more: false });
    for rows in [&[0, 7, 1][..], &[7, 0]] {
        let said = all.batch(rows).unwrap_err().to_string();
        assert!(said.starts_with("row 7 of the examples: "), "{said}");
    }
    let said = all.batch(&[0]).unwrap_err().to_string();
    assert!(said.starts_with("targets: expected a class that counts"), "{said}");
    let said = last.batch(&[0, 3, 1]).unwrap_err().to_string();
    assert!(said.starts_with("row 7 of the examples: ") && said.contains("class"), "{said}");
    let said = data(Laid { wrong: 9, more: true }).batch(&[0, 3]).unwrap_err().to_string();
    assert_eq!(said, "expected 2 rows of the examples, got 3");
    let said = last.lengths().unwrap_err().to_string();
    assert_eq!(said, "buckets: expected the lengths of all 9 rows, got 7");
}

#[test]
fn rows_without_lengths_are_never_short() {
    let model = Model::new().layer(Lstm::new(2, 3));
    let tensors = NamedTensors::from([
        ("x".to_owned(), Array::<f32, _>::ones((2, 8, 2)).into_dyn().into()),
        ("y".to_owned(), Array::<f32, _>::zeros((2, 8, 3)).into_dyn().into()),
    ]);
    let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
    assert!(data.lengths().is_err());
}
