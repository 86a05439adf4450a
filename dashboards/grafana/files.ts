import { stringify } from 'yaml';
import { alertGroups } from './alert-file.ts';
import { allBoards } from './boards/index.ts';
import { prometheusRules } from './prometheus-rules.ts';

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;

/** Everything that is generated, by its path below `generated/`; `afflux grafana` fills in what is a platform's own. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const boards = allBoards();
  return new Map([
    ...boards.map((board): [string, string] => [`dashboards/${board.uid}.json`, json(board)]),
    ['alerts.json', json(alertGroups(boards))],
    ['prometheus-rules.yaml', stringify(prometheusRules(), { lineWidth: 0 })],
  ]);
}
