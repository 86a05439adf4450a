import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { affiliate } from './affiliate.ts';
import { campaigns } from './campaigns.ts';
import { fraud } from './fraud.ts';
import { money } from './money.ts';
import { pipeline } from './pipeline.ts';

/** Builds all dashboards. */
export function allBoards(): Dashboard[] {
  return [campaigns(), affiliate(), fraud(), pipeline(), money()];
}
