//! Names of personas as numbers, the same in every process and version: what is remembered by them
//! is handed to a successor.

/// FNV-1a. A tenant could find two names that are one number, and would confuse its own personas.
pub(super) fn number(name: &str) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    name.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_of_every_version() {
        // From the FNV reference: fnv1a_64.
        assert_eq!(number(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(number("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(number("foobar"), 0x8594_4171_f739_67e8);
    }
}
