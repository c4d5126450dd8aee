//! `gatewave run --compare`: outputs beside reference outputs that a file of inputs holds.

use std::fmt::Write as _;

use gatewave::{Error, ErrorKind, Model, NamedTensors, Result, Values};

/// Expected outputs, by name.
pub(super) struct Reference(NamedTensors);

/// The result of a comparison.
pub(super) struct Compared {
    /// A line for each output.
    pub(super) text: String,
    pub(super) is_alike: bool,
}

/// Parses how far an output may be off.
pub(super) fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("expected a number, 0 or more".to_owned()),
    }
}

/// Takes those of `tensors` that have these `names` of outputs.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`] if there are some and
/// `compares` does not ask for them, or if there are none and it does.
pub(super) fn take_reference(names: &[String], tensors: &mut NamedTensors, compares: bool) -> Result<Reference> {
    let reference = Reference::take(names, tensors);
    match (names.iter().find(|name| reference.0.contains_key(*name)), compares) {
        (Some(name), false) => {
            let text = format!(
                "{name}: expected an input, got the name of an output; --compare compares the outputs of the model with it"
            );
            Err(Error::new(ErrorKind::Shape, text))
        }
        (None, true) => {
            let names = names.join(", ");
            let text = format!("--compare: expected a reference by the name of an output ({names}), got none");
            Err(Error::new(ErrorKind::Shape, text))
        }
        _ => Ok(reference),
    }
}

/// Returns the names of the outputs that no input has.
pub(super) fn names(model: &Model) -> Vec<String> {
    let ports = model.all_ports();
    let is_input = |name: &String| ports.inputs.iter().any(|port| port.name == *name);
    ports.outputs.iter().map(|port| &port.name).filter(|name| !is_input(name)).cloned().collect()
}

impl Reference {
    /// Takes those of `tensors` that have these `names` of outputs.
    pub(super) fn take(names: &[String], tensors: &mut NamedTensors) -> Self {
        Self(names.iter().filter_map(|name| tensors.remove_entry(name)).collect())
    }

    /// Compares each reference with the output of its name, which may be off by `tolerance` times 1 + its size.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`] if an output is not given, or is of another shape.
    pub(super) fn compare(&self, outputs: &[(String, Values)], tolerance: f64) -> Result<Compared> {
        let mut compared = Compared { text: String::new(), is_alike: true };
        for (name, wanted) in &self.0 {
            let Some((_, got)) = outputs.iter().find(|(other, _)| other == name) else {
                let text = format!("{name}: expected an output of this call, got none");
                return Err(Error::new(ErrorKind::Shape, text));
            };
            if got.shape() != wanted.shape() {
                let text = format!("{name}: expected {:?}, as the output is, got {:?}", got.shape(), wanted.shape());
                return Err(Error::new(ErrorKind::Shape, text));
            }
            compared.add(name, &wanted.to_f32(), &got.to_f32(), tolerance);
        }
        Ok(compared)
    }
}

impl Compared {
    /// Adds the line of an output.
    fn add(&mut self, name: &str, wanted: &ndarray::ArrayD<f32>, got: &ndarray::ArrayD<f32>, tolerance: f64) {
        let (mut worst, mut most, mut far) = (None, 0.0_f64, 0_usize);
        for ((place, &wanted), &got) in wanted.indexed_iter().zip(got) {
            // Two infinities of one sign are equal, and so are two NaNs.
            let is_same = wanted == got || wanted.is_nan() && got.is_nan();
            let off = if is_same { 0.0 } else { (f64::from(got) - f64::from(wanted)).abs() };
            if off > most || off.is_nan() || worst.is_none() {
                worst = Some((place, wanted, got));
            }
            most = if off.is_nan() { f64::INFINITY } else { most.max(off) };
            // A NaN is not near, and nothing is near an infinity but itself.
            let is_near = is_same || off.is_finite() && off <= tolerance * (1.0 + f64::from(wanted).abs());
            far += usize::from(!is_near);
        }
        let verdict = if far == 0 { "alike".to_owned() } else { format!("{far} of {} differ", wanted.len()) };
        let place = worst.filter(|_| far > 0).map_or_else(String::new, |(place, wanted, got)| {
            format!(" at {:?}: expected {wanted}, got {got}", ndarray::Dimension::slice(&place))
        });
        self.is_alike &= far == 0;
        writeln!(self.text, "{name} {:?}: {verdict}, off by {most:.2e} at most{place}", wanted.shape())
            .expect("a text takes all");
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn what_is_further_off_than_the_tolerance_is_told_with_its_place() {
        let reference = Reference(NamedTensors::from([("y".to_owned(), arr1(&[1.0_f32, 3.0]).into_dyn().into())]));
        let compare =
            |got: [f32; 2]| reference.compare(&[("y".to_owned(), arr1(&got).into_dyn().into())], 0.125).unwrap();
        let same = compare([1.25, 3.5]);
        assert_eq!((same.text.as_str(), same.is_alike), ("y [2]: alike, off by 5.00e-1 at most\n", true));
        let other = compare([1.0, 3.75]);
        let text = "y [2]: 1 of 2 differ, off by 7.50e-1 at most at [1]: expected 3, got 3.75\n";
        assert_eq!((other.text.as_str(), other.is_alike), (text, false));
        assert!(!compare([f32::NAN, 3.0]).is_alike && !compare([f32::INFINITY, 3.0]).is_alike);
        let (nan, infinite) = (f32::NAN, f32::INFINITY);
        for (wanted, got, is_alike) in [(nan, nan, true), (infinite, infinite, true), (infinite, 5.0, false)] {
            let of = |x: f32| ("y".to_owned(), Values::from(arr1(&[x]).into_dyn()));
            let compared = Reference(NamedTensors::from([of(wanted)])).compare(&[of(got)], 0.125).unwrap();
            assert_eq!(compared.is_alike, is_alike, "{wanted} and {got}: {}", compared.text);
        }
        let error = reference.compare(&[("y".to_owned(), arr1(&[1.0_f32]).into_dyn().into())], 0.1).err().unwrap();
        assert_eq!(error.to_string(), "y: expected [1], as the output is, got [2]");
    }
}
