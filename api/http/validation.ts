import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import type { FieldFault } from './problems.ts';
import { ValidationFaults } from './translate-error.ts';

/**
 * Validates a part of a request with its zod schema and names every field at fault.
 * Parameters of the path and the query are named as they stand there, members of a body by their path ("terms.rate").
 */
export const compileValidator: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  const part = httpPart ?? 'body';
  return (data: unknown) => {
    const result = schema.safeParse(data);
    if (result.success) return { value: result.data };
    return { error: new ValidationFaults(faultsIn(result.error, part)) };
  };
};

/** Every field at fault, in the order of the schema. */
export function faultsIn(error: z.ZodError, part = 'body'): FieldFault[] {
  return error.issues.flatMap((issue) => faultsOf(issue, part));
}

function faultsOf(issue: z.core.$ZodIssue, part: string): FieldFault[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      field: fieldName([...issue.path, key], part),
      message: 'is not known here',
    }));
  }
  const missing = issue.code === 'invalid_type' && /received (undefined|null)$/.test(issue.message);
  return [{ field: fieldName(issue.path, part), message: missing ? 'is required' : issue.message }];
}

/** Longest field name that is repeated to the caller, who may have made it up. */
const MAX_FIELD_LENGTH = 100;

function fieldName(path: readonly PropertyKey[], part: string): string {
  return path.length === 0 ? part : path.map(String).join('.').slice(0, MAX_FIELD_LENGTH);
}
