import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshWarehouse } from '../../test/support/warehouse.ts';
import { ANALYST_READS } from './reads.ts';
import { analystUserStatements } from './statements.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
beforeAll(async () => {
  warehouse = await freshWarehouse();
});
afterAll(async () => {
  await warehouse?.drop();
});

// The embedded engine keeps no users; it is of a server's kind, and its parser is the server's.
test.each([undefined, 7])(
  'the statements of an analyst are ones of ClickHouse: program %s',
  async (programId) => {
    const statements = analystUserStatements({ database: 'my-db', password: "it's\\", programId });
    for (const statement of statements) await warehouse.query(`EXPLAIN AST ${statement}`);
    const text = statements.join('\n');
    for (const view of ANALYST_READS.views) expect(text).toContain(view);
    expect(text.includes('.clicks TO')).toBe(programId === undefined);
    expect(text).toContain(programId === undefined ? "'analyst' CONST" : "'analyst_prg_7' CONST");
    // What is there is repaired, and what a client can undo is bounded beside it.
    expect(statements[0]).toMatch(/^CREATE USER OR REPLACE /);
    expect(statements.at(-1)).toMatch(/^CREATE QUOTA OR REPLACE .* MAX .*execution_time = \d+ TO /);
    await expect(warehouse.query('EXPLAIN AST CREATE USER a SETTINGS b = CONST')).rejects.toThrow();
  },
);
