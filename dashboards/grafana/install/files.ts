import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  ALERT_FOLDER,
  alertRules,
  BOARD_FOLDER,
  boards,
  CONTACT_POINT,
  type ContactPoint,
  contactPoints,
  type DataSource,
  dataSources,
  isOwn,
  type Setup,
} from './setup.ts';

/** Grafana's files. They are YAML by their names and JSON by their text, which is YAML too. */

/** Passwords are in the environment of Grafana alone: its files are read by an account that is not ours. */
const passwordVariable = ({ uid }: DataSource): string =>
  `${uid.toUpperCase().replaceAll('-', '_')}_PASSWORD`;

/** The address of a webhook can hold a key. */
const WEBHOOK_VARIABLE = 'AFFLUX_WEBHOOK_URL';

/** What Grafana's environment must have for its files, by name. */
export function grafanaEnvironment(setup: Setup): Record<string, string> {
  const { webhook } = setup.contacts;
  return Object.fromEntries([
    ...dataSources(setup).flatMap((source) => {
      const { password } = source.secureJsonData;
      return password === undefined ? [] : [[passwordVariable(source), password]];
    }),
    ...(webhook === '' ? [] : [[WEBHOOK_VARIABLE, webhook]]),
  ]);
}

/**
 * The files of a provisioning folder by their path in it. `boardsPath`: where Grafana finds the folder
 * `dashboards/afflux` of them.
 */
export function provisioningFiles(setup: Setup, boardsPath: string): Map<string, string> {
  const points = contactPoints(setup);
  return new Map([
    ['datasources/afflux.yaml', json({ apiVersion: 1, datasources: dataSources(setup).map(provisioned) })],
    ['dashboards/afflux.yaml', json(boardProvider(boardsPath))],
    ...boards(setup).map((board): [string, string] => [
      `dashboards/afflux/${BOARD_FOLDER.title}/${board.uid}.json`,
      json(board),
    ]),
    [
      'alerting/afflux.yaml',
      json({
        apiVersion: 1,
        ...(points.length > 0 && {
          contactPoints: [{ orgId: 1, name: CONTACT_POINT, receivers: points.map(receiver) }],
        }),
        groups: alertRules(setup).map((group) => ({
          orgId: 1,
          folder: ALERT_FOLDER.title,
          ...(escaped(group) as object),
        })),
      }),
    ],
  ]);
}

function provisioned(source: DataSource): object {
  const { secureJsonData, ...rest } = source;
  const secrets = { ...secureJsonData };
  if (secrets.password !== undefined) secrets.password = `$${passwordVariable(source)}`;
  return { ...(escaped(rest) as object), orgId: 1, editable: false, secureJsonData: secrets };
}

function receiver({ settings, ...point }: ContactPoint): object {
  const secret = point.type === 'webhook' ? { url: `$${WEBHOOK_VARIABLE}` } : {};
  return { ...point, settings: { ...(escaped(settings) as object), ...secret } };
}

function boardProvider(path: string): object {
  return {
    apiVersion: 1,
    providers: [
      {
        name: 'afflux',
        orgId: 1,
        folder: '',
        type: 'file',
        disableDeletion: false,
        // They are changed here and not there.
        allowUiUpdates: false,
        updateIntervalSeconds: 60,
        options: { path, foldersFromFilesStructure: true },
      },
    ],
  };
}

/** Provisioning fills in environment variables, and takes $$ for a dollar. */
function escaped(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, escaped(each)]));
}

export function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

/** Whether other accounts may read a file. */
export type Readers = 'everybody' | 'owner';

/** Writes files below `folder`, whatever the umask is; a secret one is never there with other rights. */
export function writeFiles(folder: string, files: ReadonlyMap<string, string>, readers: Readers): void {
  const isOpen = readers === 'everybody';
  for (const [path, text] of files) {
    const file = join(folder, path);
    const missing = mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    if (missing !== undefined && isOpen) openFolders(missing, dirname(file));
    rmSync(file, { force: true });
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
    if (isOpen) chmodSync(file, 0o644);
  }
}

/** Writes a provisioning folder. A dashboard that an earlier version wrote, and that there is no more, goes. */
export function writeProvisioning(folder: string, files: ReadonlyMap<string, string>): void {
  writeFiles(folder, files, 'everybody');
  const own = join('dashboards', 'afflux', BOARD_FOLDER.title);
  for (const name of readdirSync(join(folder, own))) {
    if (isOwn(name) && !files.has(join(own, name))) rmSync(join(folder, own, name));
  }
}

/** Lets others into the folders that were made, from the first to the innermost. */
function openFolders(first: string, last: string): void {
  for (let folder = last; folder.length >= first.length; folder = dirname(folder)) chmodSync(folder, 0o755);
}
