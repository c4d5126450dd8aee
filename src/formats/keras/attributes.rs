//! The table of how each layer of Keras and each key of its configuration
//! is treated. The reader obeys it, and docs/formats.md prints it.
//!
//! The row `Layer` has the keys of every layer. Plain data.

use crate::formats::support::{Attribute, Treatment};

/// The layers, and the keys of their configurations.
pub const ATTRIBUTES: &[Attribute] = {
    const fn row(of: &'static str, name: &'static str, treatment: Treatment, note: &'static str) -> Attribute {
        Attribute { of, name, treatment, note }
    }
    use Treatment::{Identity, Refused, Supported};
    const RNN: &str = "SimpleRNN LSTM GRU RNN";
    const CELLS: &str = "SimpleRNN LSTM GRU SimpleRNNCell LSTMCell GRUCell";
    const WITH_CUDNN: &str = "SimpleRNN LSTM GRU RNN CuDNNLSTM CuDNNGRU";
    const CELLS_WITH_CUDNN: &str = "SimpleRNN LSTM GRU SimpleRNNCell LSTMCell GRUCell CuDNNLSTM CuDNNGRU";
    const ATTENTION: &str = "Attention AdditiveAttention";
    const CONV: &str = "Conv1D DepthwiseConv1D SeparableConv1D";
    const JOINS: &str = "Concatenate Add Subtract Multiply Average Maximum";
    &[
        row("Sequential", "", Supported, "layers one after the other, also as a layer"),
        row("Sequential", "name", Identity, "a name"),
        row("Sequential", "trainable", Identity, "training"),
        row("Sequential", "dtype", Identity, "each layer has its own"),
        row("Sequential", "layers", Supported, "those below"),
        row("Sequential", "build_input_shape", Supported, "the input's shape, where no layer tells it"),
        row("Functional", "", Supported, "a graph of the layers below, also as a layer; `Model` is its older name"),
        row("Functional", "name", Identity, "a name"),
        row("Functional", "trainable", Identity, "training"),
        row("Functional", "dtype", Identity, "each layer has its own"),
        row(
            "Functional",
            "layers",
            Supported,
            "those below, each called once or several times; the operations named above",
        ),
        row("Functional", "input_layers", Supported, "one or several, which go by their names"),
        row("Functional", "output_layers", Supported, "outputs and final states of any layers"),
        row("Layer", "name", Supported, "the prefix of the layer's tensors"),
        row("Layer", "trainable", Identity, "training"),
        row("Layer", "dtype", Supported, "float16, bfloat16, float32, float64 and the mixed policies: computed in f32"),
        row("Layer", "batch_input_shape", Supported, "the input's shape, of a first layer"),
        row("Layer", "batch_shape", Supported, "the input's shape, of a first layer"),
        row(
            "InputLayer",
            "",
            Supported,
            "what the model takes: tokens or features, a sequence of them; features without time; states",
        ),
        row("InputLayer", "sparse", Refused, "all but false: tensors are dense"),
        row("InputLayer", "ragged", Refused, "all but false: give lengths instead"),
        row("InputLayer", "optional", Identity, "a sequence is always needed"),
        row("Embedding", "", Supported, "a table of vectors, of tokens of an input"),
        row("Embedding", "input_dim", Supported, ""),
        row("Embedding", "output_dim", Supported, ""),
        row("Embedding", "mask_zero", Supported, "token 0 stands where there is no step"),
        row("Embedding", "input_length", Identity, "a hint: sequences are of any length"),
        row("Embedding", "sparse", Identity, "how gradients are kept"),
        row("Embedding", "embeddings_initializer embeddings_regularizer embeddings_constraint", Identity, "training"),
        row("Embedding", "activity_regularizer", Identity, "training"),
        row("Masking", "", Supported, "no step where all features of an input equal the value"),
        row("Masking", "mask_value", Supported, ""),
        row("SimpleRNN LSTM GRU", "", Supported, ""),
        row("RNN", "", Supported, "of a cell of Keras, or of several, each over the one before it"),
        row("RNN", "cell", Supported, "a cell, or StackedRNNCells"),
        row("SimpleRNNCell LSTMCell GRUCell", "", Supported, "in an RNN"),
        row("StackedRNNCells", "", Supported, "in an RNN; also in another StackedRNNCells"),
        row("StackedRNNCells", "cells", Supported, "those above"),
        row("StackedRNNCells", "reverse_state_order", Identity, "states are in the order of the cells, as in Keras"),
        row("CuDNNLSTM", "", Supported, "of Keras 2: an LSTM with tanh and sigmoid"),
        row("CuDNNGRU", "", Supported, "of Keras 2: a GRU with tanh and sigmoid that resets after the product"),
        row(CELLS_WITH_CUDNN, "units", Supported, ""),
        row(CELLS, "activation", Supported, "every elementwise one of the list below"),
        row("LSTM GRU LSTMCell GRUCell", "recurrent_activation", Supported, "every elementwise one of the list below"),
        row(CELLS, "use_bias", Supported, ""),
        row("GRU GRUCell", "reset_after", Supported, "both ways"),
        row(WITH_CUDNN, "return_sequences", Supported, "false: the output that is computed last"),
        row(WITH_CUDNN, "return_state", Supported, "the final states are there in any case"),
        row(WITH_CUDNN, "go_backwards", Supported, "outputs stand in the order in which they are computed"),
        row(WITH_CUDNN, "stateful", Supported, "an engine keeps the states from call to call"),
        row(RNN, "zero_output_for_mask", Supported, "false: a step that is masked gives what the one before gave"),
        row(WITH_CUDNN, "time_major", Supported, "where all recurrent layers agree"),
        row(
            RNN,
            "unroll",
            Supported,
            "how it is computed; refused with go_backwards and zeros under the model's own mask, which Keras mixes up",
        ),
        row(CELLS, "implementation", Identity, "how it is computed"),
        row("LSTM LSTMCell CuDNNLSTM", "unit_forget_bias", Identity, "how biases begin; they are in the file"),
        row(CELLS, "dropout", Supported, "in training; of two directions that differ the larger one, in both"),
        row(CELLS, "recurrent_dropout", Supported, "likewise"),
        row(CELLS, "seed", Identity, "training"),
        row(CELLS_WITH_CUDNN, "kernel_initializer recurrent_initializer bias_initializer", Identity, "training"),
        row(CELLS_WITH_CUDNN, "kernel_regularizer recurrent_regularizer bias_regularizer", Identity, "training"),
        row(WITH_CUDNN, "activity_regularizer", Identity, "training"),
        row(CELLS_WITH_CUDNN, "kernel_constraint recurrent_constraint bias_constraint", Identity, "training"),
        row("Bidirectional", "", Supported, "of any of these layers; its states are those of both directions"),
        row(
            "Bidirectional",
            "layer",
            Supported,
            "forward; under a mask its zero_output_for_mask is its return_sequences, as Keras sets it",
        ),
        row(
            "Bidirectional",
            "backward_layer",
            Supported,
            "may have its own activations and bias, and cells of another kind or size",
        ),
        row("Bidirectional", "merge_mode", Supported, "concat, sum, ave, mul; null gives two outputs"),
        row("Dense", "", Supported, "over the features of each step"),
        row("Dense", "units", Supported, ""),
        row("Dense", "activation", Supported, "every one of the list below"),
        row("Dense", "use_bias", Supported, ""),
        row("Dense", "kernel_initializer bias_initializer kernel_regularizer bias_regularizer", Identity, "training"),
        row("Dense", "activity_regularizer kernel_constraint bias_constraint", Identity, "training"),
        row(
            "Dense Embedding",
            "lora_rank lora_alpha",
            Identity,
            "`.keras` holds the sum; an `.h5` with parts of it is refused",
        ),
        row("Dense Embedding", "quantization_config", Refused, "all but null"),
        row(
            "TimeDistributed",
            "",
            Supported,
            "of Dense, Activation, the activations, what is left out at inference, and models of these",
        ),
        row("TimeDistributed", "layer", Supported, ""),
        row(
            JOINS,
            "",
            Supported,
            "sequences, or features without time; of the last five also both: a row meets every step",
        ),
        row("Concatenate", "axis", Supported, "the features, or time, of sequences"),
        row(
            ATTENTION,
            "",
            Supported,
            "of query and value, or query, value and key; a row without any live step of the value gives zero",
        ),
        row(ATTENTION, "use_scale", Supported, "the scale of an Attention becomes a constant"),
        row("Attention", "score_mode", Supported, "dot, and concat, whose numbers become constants"),
        row(ATTENTION, "causal", Supported, "of Keras 2; in a call, use_causal_mask"),
        row(ATTENTION, "dropout seed", Identity, "training; what it drops is dropped nowhere here"),
        row(
            "Dot",
            "",
            Supported,
            "of query and key, and of the softmax of that and a value: an attention; hands no mask on",
        ),
        row("Dot", "axes", Supported, "the features of query and key; the steps of the key and of the value"),
        row("Dot", "normalize", Refused, "all but false"),
        row("Cropping1D", "", Supported, "hands no mask on, as in Keras"),
        row("Cropping1D", "cropping", Supported, ""),
        row("Activation", "", Supported, ""),
        row("Activation", "activation", Supported, "every one of the list below"),
        row("ReLU", "", Supported, ""),
        row("ReLU", "max_value negative_slope threshold", Supported, "one of them at a time"),
        row("LeakyReLU", "", Supported, ""),
        row("LeakyReLU", "negative_slope alpha", Supported, "one thing, by its name in Keras 3 and in Keras 2"),
        row("ELU", "", Supported, ""),
        row("ELU", "alpha", Supported, ""),
        row("ThresholdedReLU", "", Supported, ""),
        row("ThresholdedReLU", "theta", Supported, ""),
        row("Softmax", "", Supported, "not on a sequence under a mask"),
        row("Softmax", "axis", Supported, "the features; the steps, where they are the weights of an attention"),
        row("Dropout", "", Identity, "training"),
        row("Dropout", "rate", Supported, "in training"),
        row("Dropout", "noise_shape seed", Identity, "training"),
        row("SpatialDropout1D", "", Identity, "training"),
        row("SpatialDropout1D", "rate", Supported, "in training"),
        row("SpatialDropout1D", "seed noise_shape", Identity, "training"),
        row("GaussianDropout AlphaDropout GaussianNoise ActivityRegularization Identity", "", Identity, "training"),
        row("GaussianDropout", "rate seed", Identity, "training"),
        row("AlphaDropout", "rate seed noise_shape", Identity, "training"),
        row("GaussianNoise", "stddev seed", Identity, "training"),
        row("ActivityRegularization", "l1 l2", Identity, "training"),
        row(CONV, "", Supported, "over the steps; they take no mask and give none, as in Keras"),
        row("Conv1D SeparableConv1D", "filters", Supported, ""),
        row(CONV, "kernel_size strides dilation_rate", Supported, ""),
        row("Conv1D", "groups", Supported, ""),
        row("DepthwiseConv1D SeparableConv1D", "depth_multiplier", Supported, ""),
        row(CONV, "padding", Supported, "valid, same and causal"),
        row(CONV, "activation", Supported, "every one of the list below"),
        row(CONV, "use_bias", Supported, ""),
        row(CONV, "data_format", Refused, "all but channels_last"),
        row(CONV, "bias_initializer bias_regularizer activity_regularizer bias_constraint", Identity, "training"),
        row("Conv1D", "kernel_initializer kernel_regularizer kernel_constraint", Identity, "training"),
        row(
            "DepthwiseConv1D SeparableConv1D",
            "depthwise_initializer depthwise_regularizer depthwise_constraint",
            Identity,
            "training",
        ),
        row(
            "SeparableConv1D",
            "pointwise_initializer pointwise_regularizer pointwise_constraint",
            Identity,
            "training",
        ),
        // Keras 2 writes what its base class has.
        row(
            "DepthwiseConv1D SeparableConv1D",
            "groups kernel_initializer kernel_regularizer kernel_constraint",
            Identity,
            "not used",
        ),
        row("GlobalMaxPooling1D", "", Supported, "over all steps, masked or not, as in Keras"),
        row("GlobalAveragePooling1D", "", Supported, "over the steps that the mask leaves"),
        row("GlobalMaxPooling1D GlobalAveragePooling1D", "data_format", Refused, "all but channels_last"),
        row("GlobalMaxPooling1D GlobalAveragePooling1D", "keepdims", Supported, "true: one step"),
        row(
            "MaxPooling1D AveragePooling1D",
            "",
            Supported,
            "over all steps, masked or not; hands no mask on, as in Keras",
        ),
        row("MaxPooling1D AveragePooling1D", "pool_size strides", Supported, ""),
        row("MaxPooling1D AveragePooling1D", "padding", Supported, "valid, same"),
        row("MaxPooling1D AveragePooling1D", "data_format", Refused, "all but channels_last"),
        row("RepeatVector", "", Supported, ""),
        row("RepeatVector", "n", Supported, ""),
        row("Flatten", "", Supported, "of as many steps as the model fixes, or where it only renames axes"),
        row("Flatten", "data_format", Identity, "there are no channels"),
        row("Reshape", "", Supported, "to features, or to steps and features, of sizes that the model fixes"),
        row(
            "Reshape",
            "target_shape",
            Supported,
            "any length of time only where the shape stays, but for an axis of one feature",
        ),
        row("Permute", "", Supported, ""),
        row("Permute", "dims", Supported, "the axes as they are, or those of a fixed number of steps swapped"),
        row("PReLU", "", Supported, "a slope for each feature, or one for all"),
        row("PReLU", "shared_axes", Supported, "the steps, of a sequence: [1], or [1, 2] for one slope"),
        row("PReLU", "alpha_initializer alpha_regularizer alpha_constraint", Identity, "training"),
        row("BatchNormalization", "", Supported, "by the moving mean and variance"),
        row("BatchNormalization LayerNormalization", "epsilon center scale", Supported, ""),
        row("BatchNormalization", "momentum synchronized renorm renorm_clipping renorm_momentum", Identity, "training"),
        row("BatchNormalization", "moving_mean_initializer moving_variance_initializer", Identity, "training"),
        row("LayerNormalization", "", Supported, ""),
        row(
            "LayerNormalization",
            "rms_scaling",
            Refused,
            "all but false: Keras divides by the deviation there; RMSNormalization is read",
        ),
        row(
            "BatchNormalization LayerNormalization",
            "beta_initializer gamma_initializer beta_regularizer gamma_regularizer beta_constraint gamma_constraint",
            Identity,
            "training",
        ),
        row("RMSNormalization", "", Supported, ""),
        row("RMSNormalization", "epsilon", Supported, ""),
        row("UnitNormalization", "", Supported, ""),
        row("Normalization", "", Supported, "constants, or what `adapt` has found"),
        row("Normalization", "mean variance invert", Supported, "one number, or one for each feature"),
        row(
            "BatchNormalization LayerNormalization RMSNormalization UnitNormalization Normalization",
            "axis",
            Supported,
            "the features alone; of Normalization with a mean and a variance also null",
        ),
        row("Rescaling", "", Supported, ""),
        row("Rescaling", "scale offset", Supported, "one number, or one for each feature"),
    ]
};

/// Returns the row of key `name` of layer `class`.
pub(super) fn of(class: &str, name: &str) -> Option<&'static Attribute> {
    let every = if matches!(class, "Sequential" | "Functional") { class } else { "Layer" };
    ATTRIBUTES.iter().find(|row| row.is(class, name) || row.is(every, name)).filter(|_| !name.is_empty())
}

/// Whether key `name` of layer `class` changes no number, whatever its value is.
pub(super) fn changes_nothing(class: &str, name: &str) -> bool {
    of(class, name).is_some_and(|row| row.treatment == Treatment::Identity)
}

/// Whether `class` is a supported layer.
pub(super) fn is_read(class: &str) -> bool {
    ATTRIBUTES.iter().any(|row| row.is(class, "") && row.treatment != Treatment::Refused)
}
