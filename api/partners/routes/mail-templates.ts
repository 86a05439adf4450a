import { z } from 'zod';
import {
  listMailTemplates,
  MAX_MAIL_LENGTH,
  MAX_SUBJECT_LENGTH,
  type MailTemplate,
  removeMailTemplate,
  setMailTemplate,
} from '../../../ledger/partners/mail-templates.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import {
  checkTemplate,
  MAIL_KIND_NAMES,
  MAIL_KINDS,
  type MailKindName,
  renderTemplate,
  SAMPLE_VALUES,
} from '../../mails/templates.ts';
import { formatId, integerId } from '../../schemas/ids.ts';
import { lines, text } from '../../schemas/schemas.ts';
import { visibleProgram } from './sign-up-settings.ts';

/** The mails of a program in its own words. */

const params = z.object({ id: integerId('program') });
const one = params.extend({ kind: z.enum(MAIL_KIND_NAMES) });
const written = z.object({ subject: z.string(), text: z.string() });

const templateView = z
  .object({
    kind: z.enum(MAIL_KIND_NAMES),
    sent: z.string().meta({ description: 'To whom and when.' }),
    placeholders: z.array(z.string()).meta({ description: 'What can stand in braces.' }),
    ...written.shape,
    is_own: z.boolean().meta({ description: 'In the words of the program; else in those of the platform.' }),
    default: written,
  })
  .meta({ id: 'MailTemplate' });

const EXAMPLE = { subject: 'Welcome to {program}', text: 'Please open {link}' };
const templateInput = z.strictObject({
  subject: text(MAX_SUBJECT_LENGTH),
  text: lines(MAX_MAIL_LENGTH),
});

function format(kind: MailKindName, own: MailTemplate | undefined): z.output<typeof templateView> {
  const { sent, placeholders, template } = MAIL_KINDS[kind];
  return {
    kind,
    sent,
    placeholders: [...placeholders],
    ...(own ?? template),
    is_own: own !== undefined,
    default: { ...template },
  };
}

export function addMailTemplateRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addChangeRoutes(app, context);
}

function addReadRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const config = { roles: ['operator'], problems: ['not_found'] } as const;
  app.route({
    method: 'GET',
    url: '/v1/programs/:id/mail-templates',
    config,
    schema: {
      operationId: 'listMailTemplates',
      tags: ['programs'],
      summary: 'The mails to partners and applicants, in the words in which they are sent',
      params,
      response: { 200: z.object({ data: z.array(templateView) }) },
    },
    handler: async (request) => {
      const id = await visibleProgram(ledger, principalOf(request), request.params.id);
      const own = await listMailTemplates(ledger, id);
      return { data: MAIL_KIND_NAMES.map((kind) => format(kind, own.get(kind))) };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/programs/:id/mail-templates/:kind',
    config,
    schema: {
      operationId: 'getMailTemplate',
      tags: ['programs'],
      summary: 'One mail, in the words in which it is sent',
      params: one,
      response: { 200: templateView },
    },
    handler: async (request, reply) => {
      const { kind } = request.params;
      const id = await visibleProgram(ledger, principalOf(request), request.params.id);
      return withEtag(reply, format(kind, (await listMailTemplates(ledger, id)).get(kind)));
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/programs/:id/mail-templates/:kind/preview',
    config: { ...config, idempotent: true, example: EXAMPLE },
    schema: {
      operationId: 'previewMailTemplate',
      tags: ['programs'],
      summary: 'A mail as it would be sent, with made values; changes nothing',
      params: one,
      body: templateInput,
      response: { 200: written },
    },
    handler: async (request) => {
      const id = await visibleProgram(ledger, principalOf(request), request.params.id);
      checkTemplate(request.params.kind, request.body);
      const program = await getProgram(ledger, id);
      return renderTemplate(request.body, { ...SAMPLE_VALUES, program: program?.name ?? '' });
    },
  });
}

function addChangeRoutes(app: ApiServer, context: ApiContext): void {
  const config = { roles: ['operator'], idempotent: true, problems: ['not_found'] } as const;

  app.route({
    method: 'PUT',
    url: '/v1/programs/:id/mail-templates/:kind',
    config: { ...config, ifMatch: true, example: EXAMPLE },
    schema: {
      operationId: 'setMailTemplate',
      tags: ['programs'],
      summary: 'Put a mail in the words of the program',
      params: one,
      body: templateInput,
      response: { 200: templateView },
    },
    handler: async (request, reply) => {
      const { id: programId, kind } = request.params;
      const { subject, text: words } = request.body;
      checkTemplate(kind, request.body);
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', programId);
        await visibleProgram(tx, principalOf(request), programId);
        const old = (await listMailTemplates(tx, programId)).get(kind);
        checkMatch(request, format(kind, old));
        await setMailTemplate(tx, { programId, kind, subject, text: words });
        const audit = {
          action: 'mail_template.set',
          subject: formatId('program', programId),
          before: { kind, ...old },
          after: { kind, subject, text: words },
        };
        return { body: format(kind, { subject, text: words }), audit };
      });
      return withEtag(reply, changed);
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/programs/:id/mail-templates/:kind',
    config,
    schema: {
      operationId: 'removeMailTemplate',
      tags: ['programs'],
      summary: 'Send a mail in the words of the platform again',
      params: one,
      response: { 200: templateView },
    },
    handler: async (request, reply) => {
      const { id: programId, kind } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', programId);
        await visibleProgram(tx, principalOf(request), programId);
        const old = (await listMailTemplates(tx, programId)).get(kind);
        await removeMailTemplate(tx, { programId, kind });
        const subject = formatId('program', programId);
        const audit = old && { action: 'mail_template.remove', subject, before: { kind, ...old } };
        return { body: format(kind, undefined), audit };
      });
    },
  });
}
