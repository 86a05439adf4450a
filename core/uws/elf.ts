/**
 * glibc 2.38 gave functions of C23 names of their own, `__isoc23_strtol` beside `strtol`, which a compiler takes wherever the
 * headers are that new. They differ in the prefix 0b alone. A program that needs nothing else of 2.38 also runs on an
 * older glibc once it asks for the plain names.
 */
const PREFIX = '__isoc23_';
const NEEDED = 'GLIBC_2.38';
/** The newest glibc whose symbols the corrected copy may need. */
const NEWEST_ALLOWED = 36;

/** Numbers of the ELF format (elf(5), and "Symbol Versioning" of the Linux Standard Base). */
const SECTION = { dynsym: 11, verneed: 0x6ffffffe, versym: 0x6fffffff } as const;
const SYMBOL_BYTES = 24;
const UNVERSIONED = 1;
const WEAK_NEED = 2;

interface Section {
  readonly type: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/**
 * A copy of a 64-bit little-endian ELF library that loads on glibc 2.36: its undefined symbols `__isoc23_NAME` become
 * `NAME` without a version, and its need of GLIBC_2.38 becomes weak. Nothing else changes; undefined symbols are not in
 * the hash table. @throws Error when the library is of another kind, or needs more of a newer glibc.
 */
export function withoutGlibc238(library: Buffer): Buffer {
  const copy = Buffer.from(library);
  const sections = readSections(copy);
  const section = (type: number): Section => {
    const found = sections.find((one) => one.type === type);
    if (!found) throw new Error(`the library has no section of type ${type}`);
    return found;
  };
  const symbols = section(SECTION.dynsym);
  const versions = section(SECTION.versym);
  const names = sections[symbols.link];
  if (!names) throw new Error('the library has no names of symbols');
  const nameAt = (index: number) => {
    const start = names.offset + index;
    return copy.toString('latin1', start, copy.indexOf(0, start));
  };

  const needed = weakenNeed(copy, section(SECTION.verneed), nameAt);
  for (let i = 0; i < symbols.size / SYMBOL_BYTES; i++) {
    const version = versions.offset + 2 * i;
    if (copy.readUInt16LE(version) !== needed) continue;
    const symbol = symbols.offset + SYMBOL_BYTES * i;
    const name = copy.readUInt32LE(symbol);
    if (!nameAt(name).startsWith(PREFIX)) throw new Error(`the library needs ${nameAt(name)} of ${NEEDED}`);
    copy.writeUInt32LE(name + PREFIX.length, symbol);
    copy.writeUInt16LE(UNVERSIONED, version);
  }
  return copy;
}

function readSections(library: Buffer): Section[] {
  if (library.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error('not a 64-bit ELF library');
  const table = Number(library.readBigUInt64LE(0x28));
  const entryBytes = library.readUInt16LE(0x3a);
  return Array.from({ length: library.readUInt16LE(0x3c) }, (_, i) => {
    const at = table + i * entryBytes;
    return {
      type: library.readUInt32LE(at + 4),
      offset: Number(library.readBigUInt64LE(at + 0x18)),
      size: Number(library.readBigUInt64LE(at + 0x20)),
      link: library.readUInt32LE(at + 0x28),
    };
  });
}

/** Marks the need of GLIBC_2.38 as weak. Returns the number by which symbols refer to it. */
function weakenNeed(copy: Buffer, needs: Section, nameAt: (index: number) => string): number {
  let found: number | undefined;
  for (let file = needs.offset, next = -1; next !== 0; file += next) {
    next = copy.readUInt32LE(file + 12);
    let entry = file + copy.readUInt32LE(file + 8);
    for (let left = copy.readUInt16LE(file + 2); left > 0; left--) {
      const version = nameAt(copy.readUInt32LE(entry + 8));
      if (version === NEEDED) {
        copy.writeUInt16LE(copy.readUInt16LE(entry + 4) | WEAK_NEED, entry + 4);
        found = copy.readUInt16LE(entry + 6);
      } else if (Number(/^GLIBC_2\.(\d+)/.exec(version)?.[1] ?? 0) > NEWEST_ALLOWED) {
        throw new Error(`the library needs ${version}`);
      }
      entry += copy.readUInt32LE(entry + 12);
    }
  }
  if (found === undefined) throw new Error(`the library does not need ${NEEDED}`);
  return found;
}
