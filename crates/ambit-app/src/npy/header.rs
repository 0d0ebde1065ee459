//! The header of a `.npy` file: what the elements are and how many there are.
//!
//! Layout: 6 bytes of magic, version (major, minor), length of the dictionary (u16 in version 1,
//! u32 in 2 and 3, little-endian), the dictionary as Python source, padded with spaces to a
//! multiple of 64 bytes. The dictionary is parsed by hand because a header is hostile input: it
//! is bounded, flat (three known keys) and never recursive, so no nesting can exhaust the stack.
//! The format is `numpy.lib.format` as NumPy documents it.

use std::io::Read;

use crate::exit::Failure;

/// First bytes of every `.npy` file.
pub const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Bytes of the longest dictionary that is read; NumPy's own limit is 10,000.
pub const MAX_DICTIONARY: usize = 64 << 10;
/// Elements of the longest row.
pub const MAX_COLUMNS: u64 = 65_536;
/// Bytes of the header that [`encode`] makes: what NumPy itself writes for any real shape.
pub const ENCODED_LEN: usize = 128;

/// Type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// IEEE binary16.
    Float16,
    /// IEEE binary32.
    Float32,
    /// IEEE binary64.
    Float64,
    /// Two's complement 64-bit integer; written, never read.
    Int64,
}

impl Element {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::Float16 => 2,
            Self::Float32 => 4,
            Self::Float64 | Self::Int64 => 8,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Float16 => "f2",
            Self::Float32 => "f4",
            Self::Float64 => "f8",
            Self::Int64 => "i8",
        }
    }
}

/// Order of the bytes of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A header that was held against the length of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Type of the elements.
    pub element: Element,
    /// Order of their bytes.
    pub order: ByteOrder,
    /// Rows.
    pub rows: u64,
    /// Elements of a row, 1 to [`MAX_COLUMNS`].
    pub columns: usize,
    /// Where the first element lies in the file.
    pub data_offset: u64,
}

impl Header {
    /// Bytes of one row in the file.
    pub const fn row_bytes(&self) -> u64 {
        (self.columns * self.element.size()) as u64
    }
}

/// Reads the header of the file called `name`, `file_len` bytes long, from its start.
///
/// # Errors
/// Refuses what is not a plain two-dimensional float array of exactly that length.
pub fn read(file: &mut impl Read, name: &str, file_len: u64) -> Result<Header, Failure> {
    let refuse = |what: String| Failure::usage(format!("{name}: {what}"));
    let mut prelude = [0_u8; 8];
    read_exact(file, &mut prelude, name, file_len)?;
    let [magic @ .., major, minor] = &prelude;
    if magic != MAGIC {
        return Err(refuse(format!(
            "not a .npy file: it starts with {}, expected {}; write it with numpy.save",
            magic.escape_ascii(),
            MAGIC.escape_ascii()
        )));
    }
    let (dictionary_len, length_bytes) = match (major, minor) {
        (1, 0) => {
            let mut len = [0_u8; 2];
            read_exact(file, &mut len, name, file_len)?;
            (usize::from(u16::from_le_bytes(len)), 2)
        }
        (2 | 3, 0) => {
            let mut len = [0_u8; 4];
            read_exact(file, &mut len, name, file_len)?;
            (u32::from_le_bytes(len) as usize, 4)
        }
        _ => {
            return Err(refuse(format!(
                ".npy version {major}.{minor}, expected 1.0, 2.0 or 3.0; \
                 write it again with numpy.save"
            )));
        }
    };
    if dictionary_len > MAX_DICTIONARY {
        return Err(refuse(format!(
            "the header says that it is {dictionary_len} bytes long, at most {MAX_DICTIONARY} \
             are read; the file is damaged or no plain array"
        )));
    }
    let mut dictionary = vec![0_u8; dictionary_len];
    read_exact(file, &mut dictionary, name, file_len)?;
    let fields = Fields::parse(&dictionary).map_err(|what| {
        refuse(format!("the header is damaged: {what}; write it again with numpy.save"))
    })?;
    let data_offset = (prelude.len() + length_bytes + dictionary_len) as u64;
    fields.header(name, file_len, data_offset)
}

fn read_exact(
    file: &mut impl Read,
    bytes: &mut [u8],
    name: &str,
    file_len: u64,
) -> Result<(), Failure> {
    file.read_exact(bytes).map_err(|error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return Failure::usage(format!(
                "{name}: truncated: the file ends at byte {file_len}, inside its header"
            ));
        }
        Failure::new(crate::exit::Code::Io, format!("cannot read {name}: {error}"))
    })
}

/// The dictionary's three values.
#[derive(Debug, Default)]
struct Fields<'a> {
    descr: Option<Value<'a>>,
    fortran_order: Option<Value<'a>>,
    shape: Option<Value<'a>>,
}

#[derive(Debug, PartialEq)]
enum Value<'a> {
    Text(&'a str),
    Flag(bool),
    Shape(Vec<u64>),
    /// A list: the fields of a structured type, which is refused and so not looked into.
    List,
}

impl<'a> Fields<'a> {
    fn parse(dictionary: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(dictionary)
            .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to()))?;
        let mut parser = Parser { text, at: 0 };
        let mut fields = Self::default();
        parser.expect('{')?;
        while !parser.eat('}') {
            let key = parser.string()?;
            parser.expect(':')?;
            let value = parser.value()?;
            let slot = match key {
                "descr" => &mut fields.descr,
                "fortran_order" => &mut fields.fortran_order,
                "shape" => &mut fields.shape,
                other => return Err(format!("unknown key '{}'", other.escape_debug())),
            };
            let is_list = value == Value::List;
            if slot.replace(value).is_some() {
                return Err(format!("'{key}' stands there twice"));
            }
            if is_list {
                return Ok(fields);
            }
            if !parser.eat(',') {
                parser.expect('}')?;
                break;
            }
        }
        match parser.rest().trim_matches([' ', '\n']) {
            "" => Ok(fields),
            _ => Err(format!("bytes after the dictionary's end at {}", parser.at)),
        }
    }

    fn header(self, name: &str, file_len: u64, data_offset: u64) -> Result<Header, Failure> {
        let refuse = |what: String| Failure::usage(format!("{name}: {what}"));
        let lacks = |key: &str| {
            refuse(format!(
                "the header is damaged: '{key}' is missing; write it again with numpy.save"
            ))
        };
        let (element, order) = match self.descr.ok_or_else(|| lacks("descr"))? {
            Value::Text(descr) => element_of(descr).map_err(refuse)?,
            _ => {
                return Err(refuse(
                    "a structured array, expected float32, float16 or float64; \
                     save one field of it, as in numpy.save(file, x['vector'])"
                        .into(),
                ));
            }
        };
        match self.fortran_order.ok_or_else(|| lacks("fortran_order"))? {
            Value::Flag(false) => {}
            Value::Flag(true) => {
                return Err(refuse(
                    "Fortran order (columns first), expected C order (rows first); \
                     save numpy.ascontiguousarray(x)"
                        .into(),
                ));
            }
            _ => {
                return Err(refuse("the header is damaged: fortran_order is no bool".into()));
            }
        }
        let Value::Shape(shape) = self.shape.ok_or_else(|| lacks("shape"))? else {
            return Err(refuse("the header is damaged: shape is no tuple of integers".into()));
        };
        let (rows, columns) = two_dimensions(&shape).map_err(refuse)?;
        let header = Header { element, order, rows, columns, data_offset };
        hold_against_length(&header, file_len).map_err(refuse)?;
        Ok(header)
    }
}

fn element_of(descr: &str) -> Result<(Element, ByteOrder), String> {
    let native = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
    let (order, code) = match descr.split_at_checked(1) {
        Some(("<", code)) => (ByteOrder::Little, code),
        Some((">", code)) => (ByteOrder::Big, code),
        Some(("=", code)) => (native, code),
        _ => (native, descr),
    };
    let expected = "expected float32, float16 or float64";
    match code {
        "f2" => Ok((Element::Float16, order)),
        "f4" => Ok((Element::Float32, order)),
        "f8" => Ok((Element::Float64, order)),
        "|O" | "O" => Err(format!(
            "an array of Python objects, {expected}; objects would have to be unpickled, which \
             runs code; save numpy.stack(x).astype(numpy.float32)"
        )),
        _ => Err(format!(
            "element type '{}', {expected}; save x.astype(numpy.float32)",
            descr.escape_debug()
        )),
    }
}

fn two_dimensions(shape: &[u64]) -> Result<(u64, usize), String> {
    let [rows, columns] = shape else {
        let remedy =
            if shape.len() == 1 { "x.reshape(1, -1) for one row" } else { "x.reshape(n, -1)" };
        return Err(format!(
            "{} dimensions {shape:?}, expected 2 (rows x dim); save {remedy}",
            shape.len()
        ));
    };
    match usize::try_from(*columns) {
        Ok(dim) if (1..=MAX_COLUMNS).contains(columns) => Ok((*rows, dim)),
        _ => Err(format!("rows of {columns} elements, expected 1 to {MAX_COLUMNS}")),
    }
}

fn hold_against_length(header: &Header, file_len: u64) -> Result<(), String> {
    let promised = u128::from(header.rows) * u128::from(header.row_bytes());
    let found = u128::from(file_len.saturating_sub(header.data_offset));
    let shape = format!(
        "the header says {} x {} elements of {} bytes = {promised} bytes, the file holds {found}",
        header.rows,
        header.columns,
        header.element.size()
    );
    match found.cmp(&promised) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err(format!("truncated, or its header lies: {shape}; copy or save it again"))
        }
        std::cmp::Ordering::Greater => Err(format!(
            "more bytes than its header says: {shape}; a file holds one array, save each on its own"
        )),
    }
}

/// Reads the flat Python dictionary; `at` is a byte position in `text`.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<(), String> {
        if self.eat(c) {
            return Ok(());
        }
        let found = match self.rest().chars().next() {
            Some(found) => format!("'{}'", found.escape_debug()),
            None => "its end".into(),
        };
        Err(format!("expected '{c}' at byte {}, found {found}", self.at))
    }

    /// What stands before the next character of `ends`.
    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let token = rest.find(ends).and_then(|len| rest.get(..len)).unwrap_or(rest);
        self.at += token.len();
        token
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat('"') { '"' } else { '\'' };
        if quote == '\'' {
            self.expect(quote)?;
        }
        let text = self.until(|c| c == quote);
        self.expect(quote)?;
        Ok(text)
    }

    fn value(&mut self) -> Result<Value<'a>, String> {
        self.skip_blanks();
        match self.rest().chars().next() {
            Some('\'' | '"') => Ok(Value::Text(self.string()?)),
            Some('[') => Ok(Value::List),
            Some('(') => self.shape(),
            _ => match self.until(|c| !c.is_ascii_alphanumeric()) {
                "True" => Ok(Value::Flag(true)),
                "False" => Ok(Value::Flag(false)),
                other => Err(format!(
                    "'{}' at byte {} has no meaning here",
                    other.escape_debug(),
                    self.at
                )),
            },
        }
    }

    fn shape(&mut self) -> Result<Value<'a>, String> {
        self.expect('(')?;
        let mut dimensions = Vec::new();
        while !self.eat(')') {
            self.skip_blanks();
            let token = self.until(|c| matches!(c, ',' | ')' | ' '));
            // Python 2 wrote long integers with an L.
            let digits = token.strip_suffix('L').unwrap_or(token);
            let length: u64 = digits.parse().map_err(|_| {
                format!("'{}' in shape is no size from 0 to {}", token.escape_debug(), u64::MAX)
            })?;
            dimensions.push(length);
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(Value::Shape(dimensions))
    }
}

/// The header of a file of `shape`, byte for byte as NumPy writes it for shapes under 10^20.
pub fn encode(element: Element, shape: &[u64]) -> [u8; ENCODED_LEN] {
    let dimensions = match shape {
        [only] => format!("({only},)"),
        _ => {
            let sizes: Vec<String> = shape.iter().map(u64::to_string).collect();
            format!("({})", sizes.join(", "))
        }
    };
    let dictionary = format!(
        "{{'descr': '<{}', 'fortran_order': False, 'shape': {dimensions}, }}",
        element.code()
    );
    let mut header = [b' '; ENCODED_LEN];
    let dictionary_len = (ENCODED_LEN - 10) as u16;
    let prelude = MAGIC.iter().copied().chain([1, 0]).chain(dictionary_len.to_le_bytes());
    for (slot, byte) in header.iter_mut().zip(prelude.chain(dictionary.bytes())) {
        *slot = byte;
    }
    header[ENCODED_LEN - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(dictionary: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(dictionary.len()).unwrap().to_le_bytes());
        bytes.extend(dictionary.as_bytes());
        bytes
    }

    fn parse(dictionary: &str, data: u64) -> Result<Header, String> {
        let bytes = file(dictionary);
        let len = bytes.len() as u64 + data;
        read(&mut bytes.as_slice(), "x.npy", len).map_err(|failure| failure.to_string())
    }

    fn with(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    }

    #[test]
    fn a_plain_float32_header_is_read() {
        let header = parse(&with("'<f4'", "False", "(2, 3)"), 24).unwrap();
        assert_eq!((header.rows, header.columns), (2, 3));
        assert_eq!((header.element, header.order), (Element::Float32, ByteOrder::Little));
        assert_eq!(header.row_bytes(), 12);
    }

    #[test]
    fn quotes_spaces_order_of_keys_and_python_2_longs_do_not_matter() {
        let text = "{ \"shape\":(2L,3L),\"fortran_order\" : False, \"descr\":\">f8\"}  \n";
        let header = parse(text, 48).unwrap();
        assert_eq!((header.rows, header.columns), (2, 3));
        assert_eq!((header.element, header.order), (Element::Float64, ByteOrder::Big));
    }

    #[test]
    fn each_hostile_header_is_refused_with_what_is_wrong_and_what_to_do() {
        let cases = [
            (with("'<f4'", "True", "(2, 3)"), 24, "ascontiguousarray"),
            (with("'<i4'", "False", "(2, 3)"), 24, "element type '<i4', expected float32"),
            (with("'|O'", "False", "(2, 3)"), 24, "Python objects"),
            (with("'<V2'", "False", "(2, 3)"), 12, "element type '<V2'"),
            (with("[('a', '<f4')]", "False", "(2,)"), 8, "structured array"),
            (with("'<f4'", "False", "(6,)"), 24, "reshape(1, -1)"),
            (with("'<f4'", "False", "()"), 4, "0 dimensions"),
            (with("'<f4'", "False", "(1, 2, 3)"), 24, "3 dimensions"),
            (with("'<f4'", "False", "(2, 0)"), 0, "rows of 0 elements"),
            (with("'<f4'", "False", "(1, 65537)"), 65537 * 4, "rows of 65537 elements"),
            (with("'<f4'", "False", "(2, 3)"), 23, "truncated, or its header lies"),
            (with("'<f4'", "False", "(2, 3)"), 25, "more bytes than its header says"),
            (with("'<f4'", "False", "(18446744073709551615, 65536)"), 24, "truncated"),
            (with("'<f4'", "False", "(18446744073709551616, 3)"), 24, "no size"),
            (with("'<f4'", "False", "(-1, 3)"), 24, "no size"),
            (with("'<f4'", "0", "(2, 3)"), 24, "no meaning"),
            (with("'<f4'", "'no'", "(2, 3)"), 24, "no bool"),
            (with("'<f4'", "False", "'2'"), 24, "no tuple"),
            ("{'descr': '<f4', 'descr': '<f4'}".into(), 0, "twice"),
            ("{'fortran_order': False, 'shape': (1, 1)}".into(), 4, "'descr' is missing"),
            ("{'colour': 'red'}".into(), 0, "unknown key 'colour'"),
            ("(((((((((((((((((".into(), 0, "expected '{'"),
            ("{'shape': ((((((((((((((((((((((((".into(), 0, "no size"),
            ("{'descr': '<f4".into(), 0, "expected '''"),
            (String::new(), 0, "found its end"),
            (with("'<f4'", "False", "(2, 3)") + "x", 24, "after the dictionary's end"),
        ];
        for (dictionary, data, expected) in cases {
            let message = parse(&dictionary, data).expect_err(&dictionary);
            assert!(message.starts_with("x.npy: "), "{message}");
            assert!(message.contains(expected), "{dictionary}: {message}");
        }
    }

    #[test]
    fn other_files_versions_and_lengths_are_refused() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "inside its header"),
            (b"\x93NUM", "inside its header"),
            (b"PK\x03\x04aaaa", "not a .npy file"),
            (b"\x93NUMPY\x04\x00\x01\x00", "version 4.0"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "4294967295 bytes long"),
            (b"\x93NUMPY\x01\x00\x10\x00{", "inside its header"),
        ];
        for (bytes, expected) in cases {
            let failure = read(&mut &*bytes, "x.npy", bytes.len() as u64).unwrap_err();
            assert!(failure.to_string().contains(expected), "{failure}");
        }
    }

    #[test]
    fn version_2_has_a_four_byte_length() {
        let dictionary = with("'<f2'", "False", "(1, 2)");
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend(u32::try_from(dictionary.len()).unwrap().to_le_bytes());
        bytes.extend(dictionary.as_bytes());
        let len = bytes.len() as u64 + 4;
        let header = read(&mut bytes.as_slice(), "x.npy", len).unwrap();
        assert_eq!((header.element, header.data_offset), (Element::Float16, len - 4));
    }

    #[test]
    fn the_written_header_is_numpys_own() {
        // Made by numpy.save(file, numpy.zeros((50425, 384), numpy.float32)).
        let mut expected = b"\x93NUMPY\x01\x00v\x00".to_vec();
        expected.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (50425, 384), }");
        expected.resize(127, b' ');
        expected.push(b'\n');
        assert_eq!(encode(Element::Float32, &[50_425, 384]).as_slice(), expected);
        let one = encode(Element::Int64, &[7]);
        assert!(one.windows(6).any(|bytes| bytes == b"(7,), "), "{}", one.escape_ascii());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(rows in 0_u64..1 << 40, columns in 1_u64..=MAX_COLUMNS) {
            let bytes = encode(Element::Float32, &[rows, columns]);
            let len = bytes.len() as u64 + rows * columns * 4;
            let header = read(&mut bytes.as_slice(), "x.npy", len).unwrap();
            prop_assert_eq!((header.rows, header.columns as u64), (rows, columns));
            prop_assert_eq!(header.data_offset, ENCODED_LEN as u64);
        }

        #[test]
        fn no_header_makes_the_reader_panic(text in "[{}()\\[\\]',: a-zA-Z0-9<>é\n]{0,80}") {
            let _ = parse(&text, 8);
        }

        #[test]
        fn no_damaged_byte_makes_the_reader_panic(at in 0_usize..128, byte: u8) {
            let mut bytes = encode(Element::Float32, &[2, 3]);
            bytes[at] = byte;
            let _ = read(&mut bytes.as_slice(), "x.npy", 128 + 24);
        }
    }
}
