use gatewave::kernel::{Mask, Storage};
use gatewave::layout::Layout;
use gatewave::plan::{
    Limits, Shape,
    lower::lower,
    tune::{Target, Tuning},
};
use gatewave::*;

#[test]
fn smoke() {
    for (model, t, b, mask) in [
        (Model::new().layer(Lstm::new(8, 16)), 6, 4, Mask::All),
        (Model::new().layer(Lstm::new(8, 20).bidirectional().num_layers(2).proj_size(5)), 3, 2, Mask::Live),
        (
            Model::new()
                .layer(Embedding::new(30, 7))
                .layer(Gru::new(7, 16).cell(Cell::Gru(Reset::Before)).num_layers(2))
                .layer(Select::FinalHidden)
                .layer(Linear::new(16, 3).activation(Activation::Softmax)),
            5,
            2,
            Mask::Live,
        ),
        (Model::new().layer(Lstm::new(64, 256)), 100_000, 1, Mask::All),
        (Model::new().layer(Lstm::new(64, 256).num_layers(2)).layer(Linear::new(256, 10)), 100_000, 1, Mask::All),
        (Model::new().layer(Lstm::new(64, 256).bidirectional()), 100_000, 1, Mask::All),
        (Model::new().layer(Lstm::new(64, 4096)), 3, 1, Mask::All),
        (
            Model::new().layer(OneHot::new(100_000)).layer(Rnn::new(100_000, 512)).layer(Linear::new(512, 100_000)),
            12,
            2,
            Mask::All,
        ),
    ] {
        let layout = Layout::of(&model, Storage::F32).unwrap();
        let plan =
            lower(&model, &layout, Shape { time: t, batch: b, mask }, &Limits::WEBGPU, &Tuning::of(Target::Software));
        match plan {
            Ok(p) => {
                assert!(p.steps.iter().all(|s| gatewave::plan::check::covers(&p, s)));
                println!("{p}")
            }
            Err(e) => println!("ERR {e:?}"),
        }
    }
}
