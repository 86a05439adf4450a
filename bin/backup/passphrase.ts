import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { errorText, OperatingError } from '../../core/errors.ts';

/** Short ones are guessed in spite of scrypt. */
const MIN_LENGTH = 12;

/** Where a command gets the passphrase from. */
export interface PassphraseOptions {
  /** A file with it; blanks around it do not count. Without one it is asked for on a terminal. */
  readonly passphraseFile?: string | undefined;
}

/** A passphrase for secrets that are sealed now. @throws OperatingError `passphrase_missing`. */
export async function newPassphrase(options: PassphraseOptions): Promise<string> {
  const passphrase = await readPassphrase(options, 'Passphrase for the secrets: ');
  if (passphrase.length < MIN_LENGTH) {
    throw new OperatingError(
      'passphrase_missing',
      `the passphrase must have at least ${MIN_LENGTH} characters`,
    );
  }
  if (options.passphraseFile === undefined && (await ask('The same once more: ')) !== passphrase) {
    throw new OperatingError('passphrase_missing', 'the two passphrases differ');
  }
  return passphrase;
}

/** @throws OperatingError `passphrase_missing` when there is neither a file nor a terminal. */
export async function readPassphrase(
  { passphraseFile }: PassphraseOptions,
  question = 'Passphrase of the backup: ',
): Promise<string> {
  if (passphraseFile === undefined) return await ask(question);
  try {
    return readFileSync(passphraseFile, 'utf8').trim();
  } catch (cause) {
    throw new OperatingError('passphrase_missing', `--passphrase-file: ${errorText(cause)}`, { cause });
  }
}

async function ask(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new OperatingError(
      'passphrase_missing',
      'a backup holds the keys and passwords of the platform, sealed with a passphrase: give it by --passphrase-file, ' +
        'or leave them out by --without-secrets',
    );
  }
  process.stderr.write(question);
  // What is typed is not shown.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await terminal.question('');
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}
