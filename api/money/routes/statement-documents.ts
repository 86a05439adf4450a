import { Readable } from 'node:stream';
import { z } from 'zod';
import {
  getStatementDocument,
  listStatementDocuments,
  monthRange,
  STATEMENT_DOCUMENT_LIST,
  STATEMENT_TAXES,
  type StatementDocument,
  type StatementParty,
} from '../../../ledger/books/statement-documents.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList } from '../../http/lists.ts';
import { affiliateFilter, owned, principalOf, programFilter } from '../../http/principal.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { fileBytes, formatMoney, formatTime, moneyText, timeText } from '../../schemas/schemas.ts';
import { statementCsv } from '../statement-csv.ts';
import { statementPdf } from '../statement-pdf.ts';

const TAGS = ['money'];
const ROLES = ['operator', 'finance', 'affiliate'] as const;

const partyView = z.object({
  name: z.string(),
  address: z.array(z.string()),
  country: z.string().nullable(),
  vat_id: z.string().nullable(),
});

const documentView = z
  .object({
    id: idText('statementDocument'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate'),
    month: z.string().meta({ description: 'Of UTC.', examples: ['2026-10'] }),
    number: z.int().meta({ description: 'Without gaps in the program.' }),
    issued_at: timeText,
    issuer: partyView.meta({ description: 'As it was when the statement was made.' }),
    recipient: partyView,
    payable: moneyText.meta({
      description: 'What became payable in the month less what was taken back of it; VAT is within it.',
    }),
    vat: z.enum(STATEMENT_TAXES).meta({
      description: 'domestic and reverse_charge: the statement is a self-billing invoice.',
    }),
    vat_rate: z.string().nullable().meta({ description: 'Percent.' }),
    vat_amount: moneyText,
  })
  .meta({ id: 'StatementDocument' });

function formatParty({ name, address, country, vatId }: StatementParty): z.output<typeof partyView> {
  return { name, address: [...address], country, vat_id: vatId };
}

function formatDocument(document: StatementDocument): z.output<typeof documentView> {
  const { currency } = document;
  return {
    id: formatId('statementDocument', document.id),
    program_id: formatId('program', document.programId),
    affiliate_id: formatId('affiliate', document.affiliateId),
    month: document.month,
    number: document.number,
    issued_at: formatTime(document.issuedAt),
    issuer: formatParty(document.issuer),
    recipient: formatParty(document.recipient),
    payable: formatMoney(document.payableMinor, currency),
    vat: document.vat,
    vat_rate: document.vatRate,
    vat_amount: formatMoney(document.vatMinor, currency),
  };
}

/** Monthly statements: made once, numbered, the same whenever they are read. */
export function addStatementDocumentRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/statement-documents',
    operationId: 'listStatementDocuments',
    tags: TAGS,
    summary: 'Monthly statements, the newest first',
    config: { roles: ROLES },
    kind: 'statementDocument',
    list: STATEMENT_DOCUMENT_LIST,
    filters: {
      program_id: integerId('program').optional(),
      affiliate_id: integerId('affiliate').optional(),
      month: z
        .string()
        .regex(/^20\d\d-(0[1-9]|1[0-2])$/, 'must be a month such as 2026-11')
        .optional(),
    },
    view: documentView,
    read: async (page, { sql, principal, query: { program_id, affiliate_id, month } }) =>
      await listStatementDocuments(sql, {
        ...page,
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        month,
      }),
    format: (documents) => documents.map(formatDocument),
  });

  app.route({
    method: 'GET',
    url: '/v1/statement-documents/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getStatementDocument',
      tags: TAGS,
      summary: 'A monthly statement: as PDF or CSV whole, with every movement; as JSON its head',
      params: z.object({ id: bigintId('statementDocument') }),
      querystring: z.object({ format: z.enum(['json', 'pdf', 'csv']).default('json') }),
      response: {
        200: {
          description: 'The statement.',
          content: {
            'application/json': { schema: documentView },
            'application/pdf': { schema: fileBytes() },
            'text/csv': { schema: z.string() },
          },
        },
      },
    },
    handler: async (request, reply) => {
      const found = await getStatementDocument(ledger, request.params.id);
      const document = owned(principalOf(request), found, 'statement with this id');
      const { format } = request.query;
      if (format === 'json') return formatDocument(document);
      const name = `statement-${document.month}-${document.number}.${format}`;
      reply.header('content-disposition', `attachment; filename="${name}"`);
      if (format === 'pdf') {
        return reply.type('application/pdf').send(statementPdf(ledger, document) as never);
      }
      const { affiliateId, currency, month } = document;
      const csv = statementCsv(ledger, { affiliateId, currency, ...monthRange(month), document });
      return reply.type('text/csv; charset=utf-8').send(Readable.from(csv) as never);
    },
  });
}
