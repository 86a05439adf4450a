import type { ApiContext, ApiServer } from '../http/context.ts';
import { addAnalystRoute } from './routes/analysts.ts';
import { addBlockRoutes } from './routes/blocks.ts';
import { addCaseRoutes } from './routes/cases.ts';
import { addExplorerRoutes } from './routes/explorer.ts';
import { addFraudRuleRoutes } from './routes/rules.ts';
import { addVelocityRoutes } from './routes/velocity.ts';

/** What the fraud team and analysts work with. */
export function addFraudRoutes(app: ApiServer, context: ApiContext): void {
  addExplorerRoutes(app, context);
  addVelocityRoutes(app, context);
  addBlockRoutes(app, context);
  addFraudRuleRoutes(app, context);
  addCaseRoutes(app, context);
  addAnalystRoute(app, context);
}
