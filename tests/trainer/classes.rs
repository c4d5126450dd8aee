//! The classes of a dataset's targets.

use super::*;
use gatewave::Values;
use gatewave::train::BinaryCrossEntropy;

/// Five rows of four steps, of which some are dead and some ignored, and one does not count.
fn tags(classes: [[i64; 4]; 5]) -> Dataset {
    let tensors = NamedTensors::from(
        [
            ("x", Array2::<i64>::zeros((5, 4)).into()),
            ("lengths", Array1::from(vec![4_i64, 1, 2, 3, 4]).into()),
            ("sample_weight", Array1::from(vec![1.0_f32, 2.0, 1.0, 1.0, 0.0]).into()),
            ("y", Array2::from_shape_fn((5, 4), |(b, t)| classes[b][t]).into()),
        ]
        .map(|(name, values): (_, Values)| (name.to_owned(), values)),
    );
    Dataset::new(&tagger(), CrossEntropy::default(), tensors).expect("examples")
}

#[test]
fn what_counts_is_counted_and_weighted() {
    // Live: [0, 3, 3, -], [8], [0, 0], [3, 3, 0]. The last row does not count.
    let data = tags([[0, 3, 3, -100], [8, 1, 1, 1], [0, 0, 2, 2], [3, 3, 0, 5], [7, 7, 7, 7]]);
    assert_eq!(data.class_counts().unwrap(), Some(vec![4, 0, 0, 4, 0, 0, 0, 0, 1]));
    let weights = data.balanced_class_weights().unwrap().expect("weights");
    assert_eq!(weights, [0.25, 1.0, 1.0, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(data.only_class().unwrap(), None);
    let one = tags([[3, 3, -100, 3], [3, 1, 1, 1], [3, 3, 2, 2], [3, 3, 3, 5], [7, 7, 7, 7]]);
    assert_eq!((one.only_class().unwrap(), one.split(0.4).unwrap()[1].only_class().unwrap()), (Some(3), Some(3)));

    let model = Model::new().layer(Gru::new(2, 3)).layer(Select::LastStep).layer(Linear::new(3, 1));
    let rows = |y: Vec<f32>, objective: Objective| {
        let (x, y) = (features((y.len(), 4, 2), 1), Array2::from_shape_vec((y.len(), 1), y).unwrap());
        let tensors = NamedTensors::from([("x".to_owned(), x.into()), ("y".to_owned(), y.into())]);
        Dataset::new(&model, objective, tensors).expect("examples")
    };
    let yes = rows(vec![1.0, 0.0, 1.0, 1.0], BinaryCrossEntropy::default().into());
    assert_eq!(yes.class_counts().unwrap(), Some(vec![1, 3]));
    assert_eq!(rows(vec![0.0; 3], BinaryCrossEntropy::default().into()).only_class().unwrap(), Some(0));
    let numbers = rows(vec![0.0; 3], Loss::MeanSquared.into());
    assert_eq!((numbers.class_counts().unwrap(), numbers.only_class().unwrap()), (None, None));
    assert_eq!(numbers.balanced_class_weights().unwrap(), None);
}
