import { posix } from 'node:path';
import { gunzipSync, inflateRawSync } from 'node:zlib';

/** One file out of an archive, without the programs `tar` and `unzip`. The archive's hash has been checked before. */

/** Far above any nats-server; an archive that swells beyond it is refused. */
const MAX_BYTES = 256 * 1024 ** 2;

/** The first regular file of this name, in whatever folder, of a .tar.gz. @throws Error where there is none. */
export function fileInTarGz(archive, name) {
  const tar = gunzipSync(archive, { maxOutputLength: MAX_BYTES });
  const BLOCK = 512;
  for (let at = 0; at + BLOCK <= tar.length; ) {
    const text = (from, to) => tar.toString('latin1', at + from, at + to).split('\0')[0];
    const size = Number.parseInt(text(124, 136) || '0', 8);
    const isFile = ['', '0'].includes(text(156, 157));
    const start = at + BLOCK;
    if (isFile && posix.basename(text(0, 100)) === name) return tar.subarray(start, start + size);
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  throw new Error(`no ${name} in the archive`);
}

/** The same of a zip, such as a Python wheel: stored or deflated, below 4 GiB. @throws Error where there is none. */
export function fileInZip(archive, name) {
  const END_OF_DIRECTORY = Buffer.from('PK\x05\x06', 'latin1');
  const end = archive.lastIndexOf(END_OF_DIRECTORY);
  if (end === -1) throw new Error('not a zip');
  const count = archive.readUInt16LE(end + 10);
  for (let at = archive.readUInt32LE(end + 16), i = 0; i < count; i++) {
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      archive.readUInt16LE(at + field),
    );
    const path = archive.toString('utf8', at + 46, at + 46 + nameBytes);
    if (posix.basename(path) === name) {
      const local = archive.readUInt32LE(at + 42);
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const packed = archive.subarray(start, start + archive.readUInt32LE(at + 20));
      const isStored = archive.readUInt16LE(at + 10) === 0;
      return isStored ? packed : inflateRawSync(packed, { maxOutputLength: MAX_BYTES });
    }
    at += 46 + nameBytes + extraBytes + commentBytes;
  }
  throw new Error(`no ${name} in the archive`);
}
