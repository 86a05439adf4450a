import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ENGINE_ID } from '../core/config/home.ts';
import { errorText, OperatingError } from '../core/errors.ts';

/**
 * How to run the programs of the embedded engines. None runs as root: root runs them under an id that no account has,
 * an ordinary user runs them as itself.
 */
export interface EngineUser {
  /** The command and arguments that run `program` with `args`, and the ids to spawn it with. */
  wrap(
    program: string,
    args: readonly string[],
  ): { command: string; args: string[]; ids: { uid?: number; gid?: number } };
  /** Gives a file, or a folder with everything in it, to this user. */
  own(path: string): void;
  /**
   * The same under an account with a name, which initdb asks for. What it makes is to be given to this user.
   * @throws OperatingError `engine_user` when there is no such account.
   */
  named(): EngineUser;
}

interface Ids {
  readonly uid: number;
  readonly gid: number;
}

/** What an engine needs to reach. */
interface Reach {
  /** Its name in messages, and the variable that names a server instead. */
  readonly engine: 'PostgreSQL' | 'ClickHouse' | 'NATS';
  readonly variable: 'DATABASE_URL' | 'CLICKHOUSE_URL' | 'NATS_URL';
  /** Answers `--version`. */
  readonly program: string;
  /** Files that it reads. */
  readonly files?: readonly string[];
  readonly dataDir: string;
}

const CURRENT_USER: EngineUser = {
  wrap: (program, args) => ({ command: program, args: [...args], ids: {} }),
  own: () => undefined,
  named: () => CURRENT_USER,
};

/** Lets another user reach a checkout or a data folder below a closed folder such as /root, and nothing more. */
const REACH_CAPABILITY = '+dac_read_search';
/** initdb asks access(2) for its fellow programs, which leaves such a capability out of account otherwise. */
const KEEP_FOR_ACCESS = '--securebits=+no_setuid_fixup';

/**
 * Chooses the user that runs an engine, and makes its data folder's parent. No account is created.
 * @throws OperatingError `engine_user` when the user cannot reach the program and the folder.
 */
export function chooseEngineUser(reach: Reach): EngineUser {
  const parentDir = dirname(reach.dataDir);
  mkdirSync(parentDir, { recursive: true, mode: 0o700 });
  if (process.getuid?.() !== 0) return CURRENT_USER;
  const ids = { uid: ENGINE_ID, gid: ENGINE_ID };
  letGroupPass(parentDir);
  const user = [runningAs(ids), reachingAs(ids)].find((one) => canReach(one, reach));
  if (user === undefined) {
    throw new OperatingError(
      'engine_user',
      `${reach.engine} does not run as root, and the user id ${ENGINE_ID}, under which it runs instead, cannot reach ` +
        `${[reach.program, ...(reach.files ?? []), parentDir].join(' or ')}. Open the folders above them (chmod o+x), install util-linux (setpriv), ` +
        `run as an ordinary user, or set ${reach.variable}`,
    );
  }
  return user;
}

/** Writes a file for an engine alone. A link that stands in its place is removed, not followed. */
export function writeEngineFile(user: EngineUser, path: string, text: string): void {
  rmSync(path, { force: true });
  writeFileSync(path, text, { mode: 0o600, flag: 'wx' });
  user.own(path);
}

/**
 * Makes an engine's data folder for its user alone. One that earlier versions left to root, or open to others, is handed
 * over and closed.
 */
export function openEngineFolder(user: EngineUser, path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (cause) {
    throw new OperatingError(
      'engine_user',
      `the folder ${path} cannot be closed to other users: ${errorText(cause)}. A mount point must belong to the user that Afflux runs as (chown)`,
      { cause },
    );
  }
  user.own(path);
}

function runningAs(ids: Ids): EngineUser {
  return {
    wrap: (program, args) => ({ command: program, args: [...args], ids }),
    own: (path) => giveTo(ids, path),
    named: () => runningAs({ ...ids, uid: findNamedUid() }),
  };
}

function reachingAs(ids: Ids): EngineUser {
  return {
    wrap: (program, args) => ({
      command: 'setpriv',
      args: [
        `--reuid=${ids.uid}`,
        `--regid=${ids.gid}`,
        '--clear-groups',
        `--inh-caps=${REACH_CAPABILITY}`,
        `--ambient-caps=${REACH_CAPABILITY}`,
        KEEP_FOR_ACCESS,
        program,
        ...args,
      ],
      ids: {},
    }),
    own: (path) => giveTo(ids, path),
    named: () => reachingAs({ ...ids, uid: findNamedUid() }),
  };
}

/**
 * The folder itself comes last: it belongs to the user only when everything in it does. A link in its place leads to
 * another disk, and only who may write to the folder above can have made it; links inside are not followed.
 */
function giveTo({ uid, gid }: Ids, link: string): void {
  if (!existsSync(link)) return;
  const path = realpathSync(link);
  const status = lstatSync(path);
  if (status.uid === uid && status.gid === gid) return;
  if (status.isDirectory()) {
    for (const name of readdirSync(path, { recursive: true })) lchownSync(join(path, String(name)), uid, gid);
  }
  try {
    lchownSync(path, uid, gid);
  } catch (cause) {
    throw new OperatingError(
      'engine_user',
      `cannot give ${path} to the user id ${uid}, under which engines run when started by root: ${errorText(cause)}. Run as an ordinary user`,
      { cause },
    );
  }
}

/** A folder closed to all but root lets the engines' group through to what is theirs, and shows it nothing else. */
function letGroupPass(folder: string): void {
  const { uid, gid, mode } = lstatSync(folder);
  if (uid !== 0 || (mode & 0o001) !== 0 || (gid === ENGINE_ID && (mode & 0o010) !== 0)) return;
  lchownSync(folder, uid, ENGINE_ID);
  chmodSync(folder, (mode & 0o707) | 0o010);
}

function findNamedUid(): number {
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const wanted of ['postgres', 'nobody']) {
    const uid = Number(accounts.find(([name]) => name === wanted)?.[2]);
    if (uid > 0) return uid;
  }
  throw new OperatingError(
    'engine_user',
    'PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" to make its data folder. Run as an ordinary user, or set DATABASE_URL',
  );
}

/** Asks the system instead of reading modes: its answer covers access lists and mounts too. */
function canReach(user: EngineUser, { program, files = [], dataDir }: Reach): boolean {
  const script = 'cd "$1" && "$0" --version && shift && for file; do test -r "$file" || exit 1; done';
  const { command, args, ids } = user.wrap('/bin/sh', ['-c', script, program, dirname(dataDir), ...files]);
  return spawnSync(command, args, { ...ids, stdio: 'ignore' }).status === 0;
}
