//! The syntax of a head, as plainly as possible: lines cut at their CR, field lines, lists, tokens.
//! A line is judged by listing all its faults with the octet at which each shows; the first octet
//! decides.

/// A name and a value.
pub type Field = (String, Vec<u8>);

/// Where something is wrong, and the status code for it.
pub(crate) type Fault = (usize, u16);

/// A line up to its CR, or up to the end of what is there.
pub(crate) struct Line<'a> {
    pub(crate) start: usize,
    pub(crate) text: &'a [u8],
    pub(crate) has_cr: bool,
    /// What follows the CR.
    after_cr: Option<u8>,
}

impl<'a> Line<'a> {
    pub(crate) fn at(window: &'a [u8], start: usize) -> Line<'a> {
        let rest = &window[start..];
        let cr = rest.iter().position(|&b| b == b'\r');
        let text = &rest[..cr.unwrap_or(rest.len())];
        Line { start, text, has_cr: cr.is_some(), after_cr: cr.and_then(|cr| rest.get(cr + 1).copied()) }
    }

    pub(crate) fn cr(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn next(&self) -> usize {
        self.cr() + 2
    }

    /// `Ok(true)` if the line is whole, `Ok(false)` if more is needed. Of several faults at one
    /// octet the first named counts.
    pub(crate) fn verdict(&self, mut faults: Vec<Fault>) -> Result<bool, u16> {
        if self.after_cr.is_some_and(|byte| byte != b'\n') {
            faults.push((self.cr() + 1, 400));
        }
        match faults.into_iter().min_by_key(|fault| fault.0) {
            Some((_, status)) => Err(status),
            None => Ok(self.after_cr.is_some()),
        }
    }
}

/// The fields that start at `start`, at most `limit`, and where the empty line behind them ends.
pub(crate) fn field_section(
    window: &[u8],
    mut start: usize,
    limit: usize,
) -> Result<Option<(Vec<Field>, usize)>, u16> {
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let line = Line::at(window, start);
        let is_end = line.text.is_empty() && line.has_cr;
        let faults = if is_end { Vec::new() } else { field_line_faults(&line, fields.len() >= limit) };
        if !line.verdict(faults)? {
            return Ok(None);
        }
        start = line.next();
        if is_end {
            return Ok(Some((fields, start)));
        }
        let colon = line.text.iter().position(|&b| b == b':').unwrap();
        fields.push((string(&line.text[..colon]), trimmed(&line.text[colon + 1..]).to_vec()));
    }
}

fn field_line_faults(line: &Line<'_>, is_full: bool) -> Vec<Fault> {
    let text = line.text;
    let mut faults = Vec::new();
    let colon = text.iter().position(|&b| b == b':');
    let name_end = colon.unwrap_or(text.len());
    if text.first().is_some_and(|&b| is_tchar(b)) && is_full {
        faults.push((line.start, 431));
    }
    if name_end == 0 && !text.is_empty() {
        faults.push((line.start, 400));
    }
    if let Some(bad) = (0..name_end).find(|&i| !is_tchar(text[i])) {
        faults.push((line.start + bad, 400));
    }
    match colon {
        None if line.has_cr => faults.push((line.cr(), 400)),
        None => {}
        Some(colon) => {
            let is_control = |b: u8| (b < 0x20 && b != b'\t') || b == 0x7f;
            if let Some(bad) = (colon + 1..text.len()).find(|&i| is_control(text[i])) {
                faults.push((line.start + bad, 400));
            }
        }
    }
    faults
}

pub(crate) fn values(fields: &[Field], name: &str) -> Vec<Vec<u8>> {
    let named = |field: &&Field| field.0.to_ascii_lowercase() == name;
    fields.iter().filter(named).map(|field| field.1.clone()).collect()
}

pub(crate) fn elements(fields: &[Field], name: &str) -> Vec<Vec<u8>> {
    let mut elements = Vec::new();
    for value in values(fields, name) {
        elements.extend(value.split(|&b| b == b',').map(|element| trimmed(element).to_vec()));
    }
    elements
}

pub(crate) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

pub(crate) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

pub(crate) fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
