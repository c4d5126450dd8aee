//! Optimizers and schedules against numbers of PyTorch and Keras, and initial weights against what their laws say.

mod initial;
mod optimizers;
mod schedules;
mod settings;
