import { InputError } from '../../core/errors.ts';
import type { MailTemplate } from '../../ledger/partners/mail-templates.ts';

/** The mails that a program can put in its own words: when each is sent, and what it can say. */

interface MailKind {
  /** When it is sent, and to whom. */
  readonly sent: string;
  /** What can stand in braces. */
  readonly placeholders: readonly string[];
  /** Without which the mail would not do what it is for. */
  readonly required: readonly string[];
  readonly template: MailTemplate;
}

/**
 * What a stranger wrote stands in no mail to an address that is not confirmed: others could send what they like by it.
 */
export const MAIL_KINDS = {
  confirm_application: {
    sent: 'To an applicant, to confirm the address',
    placeholders: ['program', 'link'],
    required: ['link'],
    template: {
      subject: 'Confirm your application for {program}',
      text: 'Hello,\n\nsomebody, we hope you, has applied with this address to be a partner of {program}.\n\nTo read and confirm the application, open {link}\n\nThe link is good for two days and for one use. If it was not you, do nothing: the application is deleted then.\n',
    },
  },
  known_address: {
    sent: 'To an address that applies again, or has an account',
    placeholders: ['program', 'link'],
    required: [],
    template: {
      subject: 'Your application for {program}',
      text: 'Hello,\n\nsomebody, we hope you, has applied with this address to be a partner of {program}. The address has an application or an account here already, so nothing has changed.\n\nIf you have an account, sign in or set a new password at {link}\n',
    },
  },
  application_rejected: {
    sent: 'To an applicant who was rejected',
    placeholders: ['program', 'name', 'note'],
    required: [],
    template: {
      subject: 'Your application for {program}',
      text: 'Hello {name},\n\nthank you for your application for {program}. We have not accepted it.\n\n{note}\n',
    },
  },
  partner_approved: {
    sent: 'To a partner who was approved and has a login from now on',
    placeholders: ['program', 'name', 'note', 'link'],
    required: ['link'],
    template: {
      subject: 'You are a partner of {program}',
      text: 'Hello {name},\n\nyou are a partner of {program} now. To set a password and sign in, open {link}\n\nThe link is good for a week and for one use.\n\n{note}\n',
    },
  },
  partner_active: {
    sent: 'To a partner whose account is active, and who got no new login by it',
    placeholders: ['program', 'name', 'note'],
    required: [],
    template: {
      subject: 'Your account at {program} is active',
      text: 'Hello {name},\n\nyour partner account at {program} is active now.\n\n{note}\n',
    },
  },
  partner_invited: {
    sent: 'To a partner whom an operator invites',
    placeholders: ['program', 'name', 'link'],
    required: ['link'],
    template: {
      subject: 'You are invited to {program}',
      text: 'Hello {name},\n\n{program} invites you as a partner. To set a password and sign in, open {link}\n\nThe link is good for a week and for one use.\n',
    },
  },
  partner_suspended: {
    sent: 'To a partner whose account is suspended',
    placeholders: ['program', 'name', 'note'],
    required: [],
    template: {
      subject: 'Your account at {program} is suspended',
      text: 'Hello {name},\n\nyour partner account at {program} is suspended.\n\nReason: {note}\n',
    },
  },
  partner_terminated: {
    sent: 'To a partner whose account is terminated',
    placeholders: ['program', 'name', 'note'],
    required: [],
    template: {
      subject: 'Your account at {program} is terminated',
      text: 'Hello {name},\n\nyour partner account at {program} is terminated.\n\nReason: {note}\n',
    },
  },
  order_reason: {
    sent: 'To a partner, when a reviewer gives a reason for what became of an order',
    placeholders: ['program', 'name', 'order', 'reason', 'link'],
    required: [],
    template: {
      subject: 'Order {order} at {program}',
      text: 'Hello {name},\n\nabout order {order} at {program}:\n\n{reason}\n\nThe order, and where to ask a question about it: {link}\n',
    },
  },
  question_asked: {
    sent: 'To the operators and the fraud team, when a partner asks about an order',
    placeholders: ['program', 'name', 'order', 'message', 'link'],
    required: [],
    template: {
      subject: 'A question about order {order}',
      text: '{name} asks about order {order} of {program}:\n\n{message}\n\nAnswer at {link}\n',
    },
  },
  question_answered: {
    sent: 'To a partner, when a question about an order is answered',
    placeholders: ['program', 'name', 'order', 'message', 'link'],
    required: [],
    template: {
      subject: 'Your question about order {order}',
      text: 'Hello {name},\n\n{program} answers your question about order {order}:\n\n{message}\n\nThe order: {link}\n',
    },
  },
} as const satisfies Readonly<Record<string, MailKind>>;

export type MailKindName = keyof typeof MAIL_KINDS;
export const MAIL_KIND_NAMES = Object.keys(MAIL_KINDS) as [MailKindName, ...MailKindName[]];

/** What stands for the placeholders of a kind. */
export type MailValues<Kind extends MailKindName> = Readonly<
  Record<(typeof MAIL_KINDS)[Kind]['placeholders'][number], string>
>;

const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** @throws InputError naming the field, and a placeholder that the kind does not have or that is missing. */
export function checkTemplate(kind: MailKindName, { subject, text }: MailTemplate): void {
  const { placeholders, required }: MailKind = MAIL_KINDS[kind];
  for (const [field, written] of [
    ['subject', subject],
    ['text', text],
  ] as const) {
    for (const [, name = ''] of written.matchAll(PLACEHOLDER)) {
      if (placeholders.includes(name)) continue;
      const known = placeholders.map((one) => `{${one}}`).join(' ');
      throw new InputError(field, `{${name}} is unknown; this mail has ${known}`);
    }
  }
  const missing = required.find((name) => !text.includes(`{${name}}`));
  if (missing !== undefined)
    throw new InputError('text', `must have {${missing}}, which the mail is sent for`);
}

/** Puts the values in, once: braces in a value stay braces. Lines whose every value is empty are left out. */
export function renderTemplate(
  template: MailTemplate,
  values: Readonly<Record<string, string>>,
): MailTemplate {
  const fill = (line: string) => line.replace(PLACEHOLDER, (whole, name: string) => values[name] ?? whole);
  const lines = template.text.split('\n').filter((line) => {
    const names = [...line.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
    return names.length === 0 || names.some((name) => values[name] !== '');
  });
  return {
    subject: fill(template.subject).replace(/\s+/g, ' '),
    text: lines
      .map(fill)
      .join('\n')
      .replace(/\n{3,}/g, '\n\n')
      .replace(/\n*$/, '\n'),
  };
}

/** For a preview: what the values could be. */
export const SAMPLE_VALUES: Readonly<Record<string, string>> = {
  program: 'My shop',
  name: 'Ann Example',
  note: 'Welcome! Your code for new customers is ANN10.',
  link: 'https://portal.example/…',
  order: '1001',
  reason: 'The customer returned the goods.',
  message: 'Why was this order rejected?',
};
