import { z } from 'zod';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { SOURCE_KINDS } from '../kinds/index.ts';
import { readSnippets, SNIPPET_NAMES } from '../snippets.ts';
import { formatKind, kindView } from '../source-view.ts';
import { SOURCE_ROLES } from './sources.ts';

const TAGS = ['shops'];
const config = { roles: SOURCE_ROLES };

const snippetView = z
  .object({
    name: z.enum(SNIPPET_NAMES),
    title: z.string(),
    file: z.string().meta({ description: 'The name that the file has where it is put.' }),
    text: z.string(),
  })
  .meta({ id: 'Snippet' });

/** What can be connected, and what the pages of a shop take for it. */
export function addKindRoutes(app: ApiServer, { collectorUrl }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/source-kinds',
    config,
    schema: {
      operationId: 'listSourceKinds',
      tags: TAGS,
      summary: 'Every kind of source with its mapping and an example of its calls',
      response: { 200: z.object({ data: z.array(kindView) }) },
    },
    handler: async () => ({ data: SOURCE_KINDS.map(formatKind) }),
  });

  app.route({
    method: 'GET',
    url: '/v1/snippets',
    config,
    schema: {
      operationId: 'listSnippets',
      tags: TAGS,
      summary:
        'Code for the pages of a shop that carries the click id to the order, with the address of this collector',
      response: { 200: z.object({ data: z.array(snippetView) }) },
    },
    handler: async () => ({ data: await readSnippets(collectorUrl) }),
  });
}
