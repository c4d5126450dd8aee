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
    const RNN: &str = "SimpleRNN LSTM GRU";
    const ATTENTION: &str = "Attention AdditiveAttention";
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
        row(RNN, "", Supported, ""),
        row(RNN, "units", Supported, ""),
        row(RNN, "activation", Supported, "every elementwise one of the list below"),
        row("LSTM GRU", "recurrent_activation", Supported, "every elementwise one of the list below"),
        row(RNN, "use_bias", Supported, ""),
        row("GRU", "reset_after", Supported, "both ways"),
        row(RNN, "return_sequences", Supported, "false: the output that is computed last"),
        row(RNN, "return_state", Supported, "the final states are there in any case"),
        row(RNN, "go_backwards", Supported, "outputs stand in the order in which they are computed"),
        row(RNN, "stateful", Supported, "an engine keeps the states from call to call"),
        row(RNN, "zero_output_for_mask", Supported, "false: a step that is masked gives what the one before gave"),
        row(RNN, "time_major", Supported, "where all recurrent layers agree"),
        row(
            RNN,
            "unroll",
            Supported,
            "how it is computed; refused with go_backwards and zeros under the model's own mask, which Keras mixes up",
        ),
        row(RNN, "implementation", Identity, "how it is computed"),
        row("LSTM", "unit_forget_bias", Identity, "how biases begin; they are in the file"),
        row(RNN, "dropout", Supported, "in training; of two directions that differ the larger one, in both"),
        row(RNN, "recurrent_dropout", Supported, "likewise"),
        row(RNN, "seed", Identity, "training"),
        row(RNN, "kernel_initializer recurrent_initializer bias_initializer", Identity, "training"),
        row(
            RNN,
            "kernel_regularizer recurrent_regularizer bias_regularizer activity_regularizer",
            Identity,
            "training",
        ),
        row(RNN, "kernel_constraint recurrent_constraint bias_constraint", Identity, "training"),
        row("Bidirectional", "", Supported, "of an RNN, LSTM or GRU"),
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
            "may have its own activations and bias; other units, another cell or another reset_after are refused",
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
        row("Softmax", "axis", Supported, "the features alone"),
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
        row("GlobalMaxPooling1D", "", Supported, "over all steps, masked or not, as in Keras"),
        row("GlobalAveragePooling1D", "", Supported, "over the steps that the mask leaves"),
        row("GlobalMaxPooling1D GlobalAveragePooling1D", "data_format", Refused, "all but channels_last"),
        row("GlobalMaxPooling1D GlobalAveragePooling1D", "keepdims", Supported, "true: one step"),
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
