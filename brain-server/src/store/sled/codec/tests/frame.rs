//! Records in parts.

use super::super::*;

#[test]
fn a_record_of_many_parts_is_put_together_and_a_damaged_one_is_refused() {
    let record: Vec<u8> = (0..3 * PART_MAX).map(|index| index as u8).collect();
    let values = frame(&record);
    assert!(values.len() > 3 && values.iter().all(|value| value.len() <= PART_MAX));
    let mut assembly = Assembly::default();
    let mut whole = None;
    for value in &values {
        whole = assembly.push(value).unwrap();
    }
    assert_eq!(whole, Some(record));
    let mut flipped = values[0].clone();
    flipped[20] ^= 1;
    assert!(Assembly::default().push(&flipped).unwrap_err().contains("checksum"));
    assert!(Assembly::default().push(&values[1]).unwrap_err().contains("missing"));
}
