//! Writing objects, each in its shortest form.

/// `null`
#[inline]
pub fn nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

/// A boolean.
#[inline]
pub fn bool(out: &mut Vec<u8>, b: bool) {
    out.push(if b { 0xc3 } else { 0xc2 });
}

/// An integer of zero or more.
#[inline]
pub fn uint(out: &mut Vec<u8>, n: u64) {
    // each form is appended in one piece
    let [.., d, c, b, a] = n.to_be_bytes();
    match n {
        0..=0x7f => out.push(a),
        0x80..=0xff => out.extend_from_slice(&[0xcc, a]),
        0x100..=0xffff => out.extend_from_slice(&[0xcd, b, a]),
        0x1_0000..=0xffff_ffff => out.extend_from_slice(&[0xce, d, c, b, a]),
        _ => head(out, 0xcf, n.to_be_bytes()),
    }
}

/// Any integer that fits.
#[inline]
pub fn int(out: &mut Vec<u8>, n: i64) {
    if let Ok(n) = u64::try_from(n) {
        uint(out, n);
    } else if n >= -32 {
        // two's complement of a small negative number is its fixint
        out.extend_from_slice(n.to_be_bytes().get(7..).unwrap_or(&[]));
    } else if let Ok(n) = i8::try_from(n) {
        head(out, 0xd0, n.to_be_bytes());
    } else if let Ok(n) = i16::try_from(n) {
        head(out, 0xd1, n.to_be_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        head(out, 0xd2, n.to_be_bytes());
    } else {
        head(out, 0xd3, n.to_be_bytes());
    }
}

/// A float, always of 64 bits.
#[inline]
pub fn float(out: &mut Vec<u8>, x: f64) {
    let bits = if x.is_nan() {
        0x7ff8_0000_0000_0000
    } else {
        x.to_bits()
    };
    head(out, 0xcb, bits.to_be_bytes());
}

/// A text.
#[inline]
pub fn str(out: &mut Vec<u8>, text: &str) {
    let n = text.len();
    match n {
        0..=31 => out.push(0xa0 | low(n)),
        _ => sized(out, n, Some(0xd9), 0xda, 0xdb),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Bytes.
#[inline]
pub fn bin(out: &mut Vec<u8>, bytes: &[u8]) {
    sized(out, bytes.len(), Some(0xc4), 0xc5, 0xc6);
    out.extend_from_slice(bytes);
}

/// The head of a list; its objects must follow.
#[inline]
pub fn array(out: &mut Vec<u8>, n: usize) {
    match n {
        0..=15 => out.push(0x90 | low(n)),
        _ => sized(out, n, None, 0xdc, 0xdd),
    }
}

/// The head of a map; its keys and values must follow in turn.
#[inline]
pub fn map(out: &mut Vec<u8>, n: usize) {
    match n {
        0..=15 => out.push(0x80 | low(n)),
        _ => sized(out, n, None, 0xde, 0xdf),
    }
}

/// The head of an extension; its bytes must follow.
#[inline]
pub fn ext(out: &mut Vec<u8>, code: i8, n: usize) {
    match n {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        _ => sized(out, n, Some(0xc7), 0xc8, 0xc9),
    }
    out.extend_from_slice(&code.to_be_bytes());
}

#[inline]
fn low(n: usize) -> u8 {
    // callers pass at most 31
    u8::try_from(n).unwrap_or(0)
}

#[inline]
fn head<const N: usize>(out: &mut Vec<u8>, marker: u8, bytes: [u8; N]) {
    out.push(marker);
    out.extend_from_slice(&bytes);
}

#[inline]
fn sized(out: &mut Vec<u8>, n: usize, m8: Option<u8>, m16: u8, m32: u8) {
    if let (Some(m8), Ok(n)) = (m8, u8::try_from(n)) {
        head(out, m8, [n]);
    } else if let Ok(n) = u16::try_from(n) {
        head(out, m16, n.to_be_bytes());
    } else {
        // longer objects cannot be encoded; every caller is bounded by
        // the frame limit long before
        head(out, m32, u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes());
    }
}
