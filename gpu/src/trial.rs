//! A device is tried before it is handed out: what is wrong with it is then words and not a panic in the middle of a step.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use burn::tensor::{Device, DeviceIdentity, Tensor, TensorData};

/// Multiplies two small matrices on `device`: that takes memory, a compiled kernel and a way back. Returns the device's name.
pub fn trial(device: &Device) -> Result<String, String> {
    // A panic is this trial's answer, not the program's end; nobody is to read its trace. Nothing else runs yet.
    let loud = take_hook();
    set_hook(Box::new(|_| ()));
    let answer = catch_unwind(AssertUnwindSafe(|| multiply(device)));
    set_hook(loud);
    answer.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(one_line(words.unwrap_or("it panicked")))
    })
}

fn multiply(device: &Device) -> Result<String, String> {
    let x = Tensor::<2>::from_data(TensorData::new(vec![1.0_f32, 2.0, 3.0, 4.0], [2, 2]), device);
    let data = x.clone().matmul(x).try_into_data().map_err(|error| one_line(&format!("{error:?}")))?;
    let product: Vec<f32> = data.iter::<f32>().collect();
    if product != [7.0, 10.0, 15.0, 22.0] {
        return Err(format!("it computes wrongly: {product:?} for [7, 10, 15, 22]"));
    }
    Ok(device.identity().map_or_else(|| "it has no name".to_owned(), |DeviceIdentity { name, .. }| name))
}

/// The first line that says something; a driver's words may come with a trace.
fn one_line(words: &str) -> String {
    let line = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it does not say why");
    line.chars().take(300).collect()
}
