import { readFileSync } from 'node:fs';
import { errorText, OperatingError } from './errors.ts';

/** PEM files of a TLS connection to a server of one's own. '' for none. */
export interface TlsFiles {
  /** Authorities that may have signed the server's certificate; '' for those that Node.js knows. */
  readonly ca: string;
  /** The certificate that the server asks for, with its chain. */
  readonly cert: string;
  /** Its private key, unencrypted. */
  readonly key: string;
}

export const NO_TLS_FILES: TlsFiles = { ca: '', cert: '', key: '' };

/** The contents of {@link TlsFiles}, as the options of `tls.connect`. */
export interface TlsContents {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** @param prefix Of the variables that name the files, such as `NATS` of `NATS_CA`. @throws OperatingError `invalid_config`. */
export function readTlsFiles(prefix: string, files: TlsFiles): TlsContents {
  const { ca, cert, key } = files;
  return {
    ...(ca !== '' && { ca: readSettingFile(`${prefix}_CA`, ca) }),
    ...(cert !== '' && { cert: readSettingFile(`${prefix}_CERT`, cert) }),
    ...(key !== '' && { key: readSettingFile(`${prefix}_KEY`, key) }),
  };
}

/** The file that a variable names. @throws OperatingError `invalid_config`. */
export function readSettingFile(variable: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new OperatingError('invalid_config', `${variable} cannot be read: ${errorText(cause)}`, { cause });
  }
}
