import { describe, expect, test } from 'vitest';
import { checkTemplate, MAIL_KIND_NAMES, MAIL_KINDS, renderTemplate, SAMPLE_VALUES } from './templates.ts';

test.each(MAIL_KIND_NAMES)(
  'the default of %s passes its own check, and every placeholder has a sample',
  (kind) => {
    const { placeholders, template } = MAIL_KINDS[kind];
    checkTemplate(kind, template);
    for (const name of placeholders) expect([name, SAMPLE_VALUES[name] !== undefined]).toEqual([name, true]);
    const { subject, text } = renderTemplate(template, SAMPLE_VALUES);
    expect(`${subject}${text}`).not.toMatch(/[{}]/);
  },
);

test.each([
  ['subject', { subject: 'For {nmae}', text: '{link}' }, '{nmae} is unknown'],
  ['text', { subject: 'x', text: '{link} {password}' }, '{password} is unknown'],
  ['text', { subject: 'x', text: '{constructor} {link}' }, '{constructor} is unknown'],
  ['text', { subject: 'x', text: 'Come in!' }, 'must have {link}'],
])('a fault of the %s is named', (field, template, says) => {
  expect(() => checkTemplate('partner_approved', template)).toThrow(
    expect.objectContaining({ field, message: expect.stringContaining(says) }),
  );
});

test('what a stranger wrote stands in no mail to an address that is not confirmed', {
  tags: ['attack'],
}, () => {
  for (const kind of ['confirm_application', 'known_address'] as const) {
    expect(MAIL_KINDS[kind].placeholders).toEqual(['program', 'link']);
  }
});

describe('rendering', () => {
  test('puts values in once: braces and breaks in them stay what they are', { tags: ['attack'] }, () => {
    const template = { subject: 'Order {order}', text: 'Hello {name},\n\n{message}' };
    const values = { order: '1\r\nBcc: eve@example.com', name: '{message}', message: '$& {name} {{order}}' };
    expect(renderTemplate(template, values)).toEqual({
      subject: 'Order 1 Bcc: eve@example.com',
      text: 'Hello {message},\n\n$& {name} {{order}}\n',
    });
  });

  test('leaves lines out whose every value is empty', () => {
    const template = { subject: 'x', text: 'Hello {name},\n\nReason: {note}\n\nBye {name} {note}' };
    expect(renderTemplate(template, { name: 'Ann', note: '' }).text).toBe('Hello Ann,\n\nBye Ann \n');
  });
});
