//! The adapter draws the same tokens as a naive generator.

use gatewave::{Embedding, Engine, Gru, Linear, Model, Weights};

use crate::runs::exclusive;
use crate::support::devices::adapter;
use crate::support::{drawing, graph_streams};

#[test]
fn chains_are_those_drawn_by_hand() {
    drawing::chains_are_those_drawn_by_hand(&adapter());
}

#[test]
fn streams_go_on_as_if_they_were_pushed() {
    // One of each cell, with tokens and selections among them. The CPU runs all models.
    drawing::streams_go_on_as_if_they_were_pushed(&adapter(), drawing::models().into_iter().step_by(3));
}

#[test]
fn draws_of_graphs_are_the_likeliest_of_whole_calls() {
    graph_streams::draws_are_the_likeliest_of_whole_calls(&adapter());
}

#[test]
fn a_draw_from_nothing_is_an_error() {
    drawing::a_draw_from_nothing_is_an_error(&adapter());
}

#[test]
fn a_large_vocabulary_is_drawn_from() {
    drawing::a_large_vocabulary_is_drawn_from(&adapter());
}

#[test]
fn repeated_draws_make_no_object() {
    let model = Model::new().layer(Embedding::new(9, 5)).layer(Gru::new(5, 20)).layer(Linear::new(20, 9));
    let weights = Weights::random(&model, 5).unwrap();
    drawing::repeated_draws_make_no_object(&exclusive(Engine::builder(), &model, &weights));
}
