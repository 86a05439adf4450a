import { stringify } from 'yaml';
import { alertFile } from './alert-file.ts';
import { allBoards } from './boards/index.ts';
import {
  clickhouseUserFile,
  dashboardsFile,
  datasourcesFile,
  postgresUserFile,
  prometheusFile,
} from './provisioning.ts';

/** The folder in Grafana, which is the folder on the disk. */
const BOARD_FOLDER = 'Afflux';

const yaml = (value: object): string => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** Everything that is generated, by its path below `generated/`. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const boards = allBoards();
  return new Map([
    ...boards.map((board): [string, string] => [`dashboards/${BOARD_FOLDER}/${board.uid}.json`, json(board)]),
    ['provisioning/datasources/afflux.yaml', yaml(datasourcesFile())],
    ['provisioning/dashboards/afflux.yaml', yaml(dashboardsFile())],
    ['provisioning/alerting/afflux.yaml', yaml(alertFile(boards))],
    ['prometheus.yaml', yaml(prometheusFile())],
    ['clickhouse-user.sql', clickhouseUserFile()],
    ['postgres-user.sql', postgresUserFile()],
  ]);
}
