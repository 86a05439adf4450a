import { OperatingError } from '../errors.ts';

/** The machine and Node.js that a native library must fit. */
export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** ABI of Node.js: 115 of 20, 127 of 22, 137 of 24. */
  readonly abi: string;
  /** Such as [2, 36]; undefined where the C library is another one, such as musl. */
  readonly glibc: readonly [number, number] | undefined;
}

/** A library of uWebSockets.js in `node_modules`. */
export interface Binary {
  readonly package: '@btc-vision/uwebsockets.js' | 'uWebSockets.js';
  readonly file: string;
  readonly sha256: string;
  /** Whether a corrected copy is loaded instead, because the glibc is older than 2.38. */
  readonly corrected: boolean;
  /** Whether it is from before the repair of requests that arrive in pieces (uWebSockets 1776). */
  readonly old: boolean;
}

type Pinned = Pick<Binary, 'package' | 'sha256'>;

/** The libraries by architecture and ABI; docs/decisions/0012 says why these. All need glibc 2.38. */
const CURRENT: Readonly<Record<string, Pinned>> = {
  x64_115: {
    package: '@btc-vision/uwebsockets.js',
    sha256: '5b126ee00bf754b02e97e4c27090365a8562c5820c93f93918ac2212d4503e91',
  },
  x64_127: {
    package: 'uWebSockets.js',
    sha256: '78e38a9a163b1cf33ce539619e5908111dea95a12e7943d95fbcdd524879caa8',
  },
  x64_137: {
    package: 'uWebSockets.js',
    sha256: '3b549c14e01d9d1faf234cdf4b6f0fb08158605e3692cd0eb1b905e327bd3449',
  },
  arm64_115: {
    package: '@btc-vision/uwebsockets.js',
    sha256: '6bdbc8ff976b4371af1906175e9025804bacc38a414969f4f02314e6b99f206c',
  },
  arm64_127: {
    package: 'uWebSockets.js',
    sha256: 'a7d9bc3ec166421a49416d5ea4f49118ae68ea1dbf8a765c4f45a79b0b6adb13',
  },
  arm64_137: {
    package: 'uWebSockets.js',
    sha256: 'b6eb007d627e00bcce03ad38f197124e9027c03f6fe784b37f97b8a6ea709cb4',
  },
};

/** For a glibc before 2.36, which lacks arc4random: needs 2.27. */
const OLD: Readonly<Record<string, Pinned>> = {
  x64_115: {
    package: 'uWebSockets.js',
    sha256: 'f4fa5d7b697529b45ac8aa3d57385d9af51bc1d2b26aa9f5b68ca4361542e665',
  },
  arm64_115: {
    package: 'uWebSockets.js',
    sha256: '034e0fcccdc08f90df3b130f421516311831b1352fe38eab91abc2984c2fdf3a',
  },
};

const WAY_OUT =
  'Use Node.js 20, 22 or 24 on Linux (x64 or arm64) with glibc 2.36 or later, such as Debian 12 or Ubuntu 24.04, ' +
  'or a container image of one (node:24-bookworm)';

/** The library for a machine. @throws OperatingError `server_unavailable`, which says what would work. */
export function chooseBinary({ platform, arch, abi, glibc }: Machine): Binary {
  const key = `${arch}_${abi}`;
  const minor = glibc && glibc[0] === 2 ? glibc[1] : undefined;
  const current = CURRENT[key];
  if (platform !== 'linux' || minor === undefined || !current) {
    const libc = glibc ? `glibc ${glibc.join('.')}` : 'no glibc';
    throw unavailable(
      `there is no uWebSockets.js for ABI ${abi} of Node.js on ${platform} ${arch} with ${libc}`,
    );
  }
  const file = `uws_linux_${key}.node`;
  if (minor >= 36) return { ...current, file, corrected: minor < 38, old: false };
  const old = minor >= 27 ? OLD[key] : undefined;
  if (!old)
    throw unavailable(
      `glibc ${glibc?.join('.')} is too old for this version of Node.js (Node.js 20 needs 2.27)`,
    );
  return { ...old, file, corrected: false, old: true };
}

export function unavailable(reason: string): OperatingError {
  return new OperatingError('server_unavailable', `the collector's server cannot run: ${reason}. ${WAY_OUT}`);
}
