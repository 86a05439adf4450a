import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { OperatingError } from '../core/errors.ts';

/**
 * How to run PostgreSQL's programs. PostgreSQL refuses to run as root, so root runs it as another user; an ordinary
 * user runs it as itself.
 */
export interface PostgresUser {
  /** The command and arguments that run `program` with `args`, and the ids to spawn it with. */
  wrap(
    program: string,
    args: readonly string[],
  ): { command: string; args: string[]; ids: { uid?: number; gid?: number } };
  /** Gives a file or folder to this user. */
  own(path: string): void;
}

interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const CURRENT_USER: PostgresUser = {
  wrap: (program, args) => ({ command: program, args: [...args], ids: {} }),
  own: () => undefined,
};

/** Lets another user reach a checkout or a data folder below a closed folder such as /root, and nothing more. */
const REACH_CAPABILITY = '+dac_read_search';
/** initdb asks access(2) for its fellow programs, which leaves such a capability out of account otherwise. */
const KEEP_FOR_ACCESS = '--securebits=+no_setuid_fixup';

/**
 * Chooses the account that runs PostgreSQL: the owner of an existing data folder, else `postgres`, else `nobody`; no account
 * is created. Makes the data folder's parent.
 * @throws OperatingError `postgres_user` when no account can reach the program and the folder.
 */
export function choosePostgresUser(options: {
  program: string;
  parentDir: string;
  dataDir: string;
}): PostgresUser {
  mkdirSync(options.parentDir, { recursive: true });
  if (process.getuid?.() !== 0) return CURRENT_USER;
  const account = ownerOf(options.dataDir) ?? findAccount('postgres') ?? findAccount('nobody');
  if (account === undefined) {
    throw new OperatingError(
      'postgres_user',
      'PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody". Run as an ordinary user, or set DATABASE_URL',
    );
  }
  const { uid, gid } = account;
  const own = (path: string): void => chownSync(path, uid, gid);
  const plain: PostgresUser = {
    wrap: (program, args) => ({ command: program, args: [...args], ids: { uid, gid } }),
    own,
  };
  const reaching: PostgresUser = {
    wrap: (program, args) => ({
      command: 'setpriv',
      args: [
        `--reuid=${uid}`,
        `--regid=${gid}`,
        '--clear-groups',
        `--inh-caps=${REACH_CAPABILITY}`,
        `--ambient-caps=${REACH_CAPABILITY}`,
        KEEP_FOR_ACCESS,
        program,
        ...args,
      ],
      ids: {},
    }),
    own,
  };
  for (const user of [plain, reaching]) if (canReach(user, options)) return user;
  throw new OperatingError(
    'postgres_user',
    `PostgreSQL does not run as root, and the user "${account.name}" cannot reach ${options.program} or ` +
      `${options.parentDir}. Open the folders above them (chmod o+x), install util-linux (setpriv), ` +
      'run as an ordinary user, or set DATABASE_URL',
  );
}

function ownerOf(dataDir: string): Account | undefined {
  try {
    const { uid, gid } = statSync(dataDir);
    const isUsed = readdirSync(dataDir).length > 0;
    return isUsed && uid !== 0 ? { name: `uid ${uid}`, uid, gid } : undefined;
  } catch {
    return undefined;
  }
}

function findAccount(name: string): Account | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  return uid && gid ? { name, uid: Number(uid), gid: Number(gid) } : undefined;
}

/** Asks the system instead of reading modes: its answer covers access lists and mounts too. */
function canReach(user: PostgresUser, options: { program: string; parentDir: string }): boolean {
  const { command, args, ids } = user.wrap('/bin/sh', [
    '-c',
    'cd "$1" && test -x "$0" && "$0" --version',
    options.program,
    options.parentDir,
  ]);
  return spawnSync(command, args, { ...ids, stdio: 'ignore' }).status === 0;
}
