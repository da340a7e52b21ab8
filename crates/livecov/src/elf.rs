//! The program's file: where its sections are in the file and in memory.

use object::LittleEndian as LE;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::pod::{self, Pod};

use crate::Error;
use crate::known::{Known, Stop};
use crate::range::Range;

/// A program's file, as far as its sections go.
#[derive(Debug, Clone)]
pub(crate) struct Executable {
    /// As Go names it: GOARCH.
    pub(crate) architecture: &'static str,
    sections: Vec<Section>,
}

/// A section of the program's file.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    name: String,
    /// Its address in the process.
    pub(crate) address: u64,
    /// In bytes.
    pub(crate) size: u64,
    offset: u64,
}

impl Section {
    /// Its bytes in the file.
    pub(crate) fn in_file(&self) -> Range {
        Range::file(self.offset, self.size)
    }

    /// Its bytes in memory.
    pub(crate) fn in_memory(&self) -> Range {
        Range::memory(self.address, self.size)
    }
}

/// The most bytes of a section's name that are kept: more than any that is looked for has.
const NAME: usize = 64;

/// The number of an entry of the auxiliary vector: the address of the program headers. See `getauxval(3)`.
const AT_PHDR: u64 = 3;

impl Executable {
    /// Reads it from the program's file. `auxv` is the content of `/proc/PID/auxv`, which tells where a
    /// position-independent program is.
    pub(crate) fn read(auxv: &[u8], known: &Known) -> Result<Self, Stop> {
        let header = known.part(Range::file(0, size_of::<FileHeader64<LE>>() as u64))?;
        let header = header_of(header)?;
        let architecture = match header.e_machine.get(LE) {
            elf::EM_X86_64 => "amd64",
            elf::EM_AARCH64 => "arm64",
            _ => return Err(Error::Processor("neither amd64 nor arm64").into()),
        };
        let bias = match header.e_type.get(LE) {
            elf::ET_DYN => bias(header, auxv, known)?,
            _ => 0,
        };
        let sections = sections(header, bias, known)?;
        Ok(Self { architecture, sections })
    }

    /// The section of this name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The sections whose name begins so.
    pub(crate) fn sections<'e>(&'e self, prefix: &'e str) -> impl Iterator<Item = &'e Section> {
        self.sections.iter().filter(move |section| section.name.starts_with(prefix))
    }
}

fn header_of(bytes: &[u8]) -> Result<&FileHeader64<LE>, Error> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(Error::NotElf);
    }
    match bytes.get(4..6) {
        Some([elf::ELFCLASS64, elf::ELFDATA2LSB]) => {}
        Some([elf::ELFCLASS64, _]) => return Err(Error::Processor("big-endian")),
        _ => return Err(Error::Processor("32 bits")),
    }
    pod::from_bytes(bytes).map(|(header, _)| header).map_err(|()| Error::NotElf)
}

/// The items of a table in the program's file.
fn table<T: Pod>(known: &Known, offset: u64, count: u16) -> Result<&[T], Stop> {
    let bytes = known.get(Range::file(offset, u64::from(count) * size_of::<T>() as u64))?;
    let items = pod::slice_from_bytes(bytes, usize::from(count));
    Ok(items.map(|(items, _)| items).map_err(|()| Error::NotElf)?)
}

/// How much further a position-independent program is in memory than its file says.
fn bias(header: &FileHeader64<LE>, auxv: &[u8], known: &Known) -> Result<u64, Stop> {
    let headers_at = header.e_phoff.get(LE);
    let headers: &[ProgramHeader64<LE>] = table(known, headers_at, header.e_phnum.get(LE))?;
    let contains = |segment: &&ProgramHeader64<LE>| {
        let (start, size) = (segment.p_offset.get(LE), segment.p_filesz.get(LE));
        segment.p_type.get(LE) == elf::PT_LOAD && headers_at.checked_sub(start).is_some_and(|at| at < size)
    };
    let segment = headers.iter().find(contains).ok_or(Error::NotElf)?;
    let planned = segment.p_vaddr.get(LE).wrapping_add(headers_at).wrapping_sub(segment.p_offset.get(LE));
    let mut entries = auxv.as_chunks::<16>().0.iter().map(|entry| {
        let (key, value) = entry.split_at(8);
        (word(key), word(value))
    });
    let actual = entries.find(|(key, _)| *key == AT_PHDR).ok_or(Error::NotStarted)?.1;
    Ok(actual.wrapping_sub(planned))
}

/// A number of eight bytes.
pub(crate) fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn sections(header: &FileHeader64<LE>, bias: u64, known: &Known) -> Result<Vec<Section>, Stop> {
    let count = header.e_shnum.get(LE);
    if header.e_shoff.get(LE) == 0 || count == 0 {
        return Err(Error::NoSections.into());
    }
    let headers: &[SectionHeader64<LE>] = table(known, header.e_shoff.get(LE), count)?;
    let names = headers.get(usize::from(header.e_shstrndx.get(LE))).ok_or(Error::NoSections)?;
    let names = known.get(Range::file(names.sh_offset.get(LE), names.sh_size.get(LE)))?;
    let name = |at: u32| {
        let name = names.get(at as usize..).unwrap_or_default();
        let name = &name[..name.len().min(NAME)];
        String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    };
    let sections = headers.iter().map(|section| Section {
        name: name(section.sh_name.get(LE)),
        address: section.sh_addr.get(LE).wrapping_add(bias),
        size: section.sh_size.get(LE),
        offset: section.sh_offset.get(LE),
    });
    Ok(sections.collect())
}
