import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { MAX_PASSED_PARAMETERS, parameterKey, parsePassedParameters } from './passed-parameters.ts';

const parse = (names: readonly string[]) => parsePassedParameters(names, 'pass_parameters');

describe('passed parameters', () => {
  it.each([[[]], [['*']], [['gclid', 'utm_source', 'a.b~c-d']]])('takes %j', (names) => {
    expect(parse(names)).toEqual(names);
  });

  it('keeps a repeated name once', () => {
    expect(parse(['gclid', 'gclid'])).toEqual(['gclid']);
  });

  it.each([
    [['gclid', ''], 'pass_parameters.1'],
    [['a b'], 'pass_parameters.0'],
    [['x'.repeat(65)], 'pass_parameters.0'],
    [['*', 'gclid'], 'pass_parameters.0'],
    [['click_id'], 'pass_parameters.0'],
    [['Click.ID'], 'pass_parameters.0'],
    [Array.from({ length: MAX_PASSED_PARAMETERS + 1 }, (_, i) => `p${i}`), 'pass_parameters'],
  ])('refuses %j', (names, field) => {
    expect(() => parse(names)).toThrow(expect.objectContaining({ constructor: InputError, field }));
  });

  it.each([' click_id', 'CLICK_ID', 'click.id', 'click id', 'click_id[]', 'click_id[a][b', 'click[id'])(
    'a shop may read %s as click_id',
    (name) => {
      expect(parameterKey(name)).toBe(name === 'click[id' ? 'click' : 'click_id');
    },
  );
});
