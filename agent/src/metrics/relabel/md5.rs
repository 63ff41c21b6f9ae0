//! MD5 (RFC 1321), by which `hashmod` spreads: nobody's secret depends on it, and nothing else here has it.
//!
//! Promises: the sums of the RFC's test suite.
//! Never: protects anything.

/// How far each step turns, four in each round.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
const BEGIN: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
const BLOCK: usize = 64;

/// The sum of `text`.
pub(super) fn sum(text: &[u8]) -> [u8; 16] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK != BLOCK - 8 {
        padded.push(0);
    }
    padded.extend((text.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = BEGIN;
    let (blocks, _) = padded.as_chunks::<BLOCK>();
    blocks.iter().for_each(|block| mix(&mut state, block));
    let mut sum = [0; 16];
    let (words, _) = sum.as_chunks_mut::<4>();
    words.iter_mut().zip(state).for_each(|(word, part)| *word = part.to_le_bytes());
    sum
}

fn mix(state: &mut [u32; 4], block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<4>();
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..BLOCK {
        let (mixed, word) = match step / 16 {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        // The RFC's table: the integer part of 2^32 times the sine of the step.
        let sine = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
        let word = u32::from_le_bytes(words[word % 16]);
        let added = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word);
        let turned = b.wrapping_add(added.rotate_left(TURNS[step / 16][step % 4]));
        (a, d, c, b) = (d, c, b, turned);
    }
    for (state, part) in state.iter_mut().zip([a, b, c, d]) {
        *state = state.wrapping_add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, A.5.
    #[test]
    fn sums_are_those_of_the_rfc() {
        for (text, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let sum: String = sum(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(sum, expected, "{text}");
        }
    }
}
