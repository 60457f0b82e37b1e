//! The key exchange, and the box that a password travels in (client
//! protocol, 8.4): Diffie and Hellman's over a group of RFC 3526, and NaCl's
//! secret box.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd, Resize as _};
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use zeroize::Zeroizing;

/// The `length` that is asked for: it stands for the group of 2048 bits.
pub const LENGTH: u64 = 1024;
/// Random bytes that the private key takes, for that length.
pub const PRIVATE: usize = 136;
/// Bytes of a key, and of a nonce, of the box
const KEY: usize = 32;
const NONCE: usize = 24;

/// Group 5 of RFC 3526; the generator of both is 2.
const GROUP_5: &str = "\
ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf05\
98da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
9ed529077096966d670c354e4abc9804f1746c08ca237327ffffffffffffffff";

/// Group 14 of RFC 3526
const GROUP_14: &str = "\
ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
4fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed\
ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf05\
98da48361c55d39a69163fa8fd24cf5f83655d23dca3ad961c62f356208552bb\
9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b\
e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf695581718\
3995497cea956ae515d2261898fa051015728e5a8aacaa68ffffffffffffffff";

/// Why no key can be agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// The other side's public key is none.
    #[error("its public key is none of the group")]
    PublicKey,
}

/// One side of a key exchange.
pub struct Exchange {
    group: BoxedMontyParams,
    private: Zeroizing<BoxedUint>,
    bits: u32,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange(…)")
    }
}

impl Exchange {
    /// An exchange whose private key are these random bytes, [`PRIVATE`] of
    /// them for [`LENGTH`]. A lesser length than 32 stands for the smaller
    /// group.
    #[must_use]
    pub fn new(length: u64, private: &[u8]) -> Self {
        let (prime, bits) = match length {
            0..32 => (GROUP_5, 1536),
            _ => (GROUP_14, 2048),
        };
        let prime = BoxedUint::from_be_hex(prime, bits);
        let prime = prime.into_option().and_then(|p| Odd::new(p).into_option());
        let prime = prime.expect("invariant: the prime is odd, and has its length");
        // what does not fit would be no number of the group
        let private = private.get(..bits as usize / 8).unwrap_or(private);
        let private = BoxedUint::from_be_slice(private, bits);
        let private = private.expect("invariant: it has been cut to fit");
        Self {
            group: BoxedMontyParams::new(prime),
            private: Zeroizing::new(private),
            bits,
        }
    }

    /// What the other side is told.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        let two = BoxedUint::from(2_u8).resize(self.bits);
        minimal(&self.power(two, &self.private))
    }

    /// The key that both sides then have, from what the other side tells.
    ///
    /// # Errors
    /// If that is no public key.
    pub fn key(&self, public: &[u8]) -> Result<Zeroizing<[u8; KEY]>, ExchangeError> {
        let theirs = BoxedUint::from_be_slice(public, self.bits);
        let theirs = theirs.map_err(|_| ExchangeError::PublicKey)?;
        let prime = self.group.modulus().as_ref();
        let one = BoxedUint::one_with_precision(self.bits);
        let last = prime.wrapping_sub(&one);
        let two = BoxedUint::from(2_u8).resize(self.bits);
        if theirs <= two || theirs >= last {
            return Err(ExchangeError::PublicKey);
        }
        // it must be in the subgroup that the generator spans
        let half = last.shr(1);
        if self.power(theirs.clone(), &half) != one {
            return Err(ExchangeError::PublicKey);
        }
        let shared = Zeroizing::new(self.power(theirs, &self.private));
        let shared = Zeroizing::new(minimal(&shared));
        let mut key = Zeroizing::new([0; KEY]);
        for (to, from) in key.iter_mut().zip(shared.iter()) {
            *to = *from;
        }
        Ok(key)
    }

    fn power(&self, base: BoxedUint, exponent: &BoxedUint) -> BoxedUint {
        let base = BoxedMontyForm::new(base, &self.group);
        base.pow(exponent).retrieve()
    }
}

/// A number's bytes, without zeros before it.
fn minimal(number: &BoxedUint) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.iter().skip(zeros).copied().collect()
}

/// Puts a password's digest into a box that `key` opens; the nonce, which is
/// random, stands before it.
#[must_use]
pub fn seal(key: &[u8; KEY], nonce: &[u8; NONCE], digest: &[u8; 32]) -> Vec<u8> {
    let cipher = XSalsa20Poly1305::new(key.into());
    let sealed = cipher.encrypt(nonce.into(), digest.as_slice());
    let mut out = nonce.to_vec();
    // it fails for lack of memory only, and then says nothing
    out.extend(sealed.unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn bytes(json: &Json) -> Vec<u8> {
        let text = json.as_str().expect("hex");
        let pairs = (0..text.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    #[test]
    fn keys_and_boxes_are_the_originals() {
        let text = include_str!("../../tests/vectors/client/crypto.json");
        let vectors: Json = serde_json::from_str(text).expect("the vectors are JSON");
        let mut seen = 0;
        for vector in vectors["exchanges"].as_array().expect("exchanges") {
            let length = vector["length"].as_u64().expect("a length");
            let side = |name: &str| Exchange::new(length, &bytes(&vector[name]));
            let (client, server) = (side("client_private"), side("server_private"));
            assert_eq!(client.public(), bytes(&vector["client_public"]));
            assert_eq!(server.public(), bytes(&vector["server_public"]));
            let key = client.key(&server.public()).unwrap();
            assert_eq!(key.to_vec(), bytes(&vector["key"]));
            assert_eq!(server.key(&client.public()).unwrap(), key);
            let nonce: [u8; NONCE] = bytes(&vector["nonce"]).try_into().expect("a nonce");
            let password = vector["password"].as_str().expect("a password");
            let digest = crate::auth::digest(password);
            assert_eq!(digest.to_vec(), bytes(&vector["sha256"]));
            assert_eq!(seal(&key, &nonce, &digest), bytes(&vector["box"]));
            seen += 1;
        }
        assert_eq!(seen, 4);
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let text = include_str!("../../tests/vectors/client/crypto.json");
        let vectors: Json = serde_json::from_str(text).expect("the vectors are JSON");
        let side = Exchange::new(16, &[7; 33]);
        let prime = side.group.modulus().as_ref().clone();
        let cases = vectors["public_key_check"]["cases"].as_array();
        for case in cases.expect("cases") {
            let name = case["key"].as_str().expect("a key");
            let public = match name.strip_prefix("prime-") {
                Some(less) => {
                    let less: u8 = less.parse().expect("a number");
                    minimal(&prime.wrapping_sub(BoxedUint::from(less).resize(1536)))
                }
                None => vec![u8::from_str_radix(name, 16).expect("a number")],
            };
            assert_eq!(side.key(&public).is_ok(), case["ok"] == true, "{name}");
        }
        for public in [&[][..], &[0xff; 192], &[9; 300]] {
            assert_eq!(side.key(public), Err(ExchangeError::PublicKey));
        }
    }
}
