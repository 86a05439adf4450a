/** What a request says beside its query: it holds for this query alone. */
export interface QueryContext {
  readonly database: string | undefined;
  readonly role: string | undefined;
  /** Settings of the engine by name. */
  readonly settings: ReadonlyMap<string, string>;
  /** Values of `{name:Type}` in the query. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Statements that put the context in force; sent in one call with the query, because each call costs half a millisecond.
 * Parameters go through SET: the library's own binding is not safe when queries run in parallel, and therefore runs one at
 * a time.
 */
export function statementsOf(context: QueryContext): string[] {
  const statements: string[] = [];
  if (context.database) statements.push(`USE ${quoteName(context.database)}`);
  if (context.role) statements.push(`SET ROLE ${quoteName(context.role)}`);
  const assignments = [
    ...[...context.parameters].map(([name, value]) => `param_${name}=${quote(value)}`),
    ...[...context.settings]
      .filter(([name]) => name !== 'readonly')
      .map(([name, value]) => `${name}=${quote(value)}`),
  ];
  if (assignments.length > 0) statements.push(`SET ${assignments.join(', ')}`);
  // Last: it can forbid further changes.
  const readonly = context.settings.get('readonly');
  if (readonly !== undefined) statements.push(`SET readonly=${quote(readonly)}`);
  return statements;
}

/** Statements in one text, before a query. */
export function joined(statements: readonly string[]): string {
  return statements.map((statement) => `${statement}; `).join('');
}

export function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

export function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}
