/** One thing that `afflux init` wants to know. */
export interface Question {
  /** The option, without its dashes. */
  readonly option: string;
  /** The field of the setup, as the ledger names it. */
  readonly field: string;
  readonly text: string;
  readonly placeholder: string;
  /** Taken for an empty answer; without one, an empty answer leaves the part out. */
  readonly fallback?: string;
  /** Asked only when this one has an answer. */
  readonly after?: string;
}

/** In the order in which they are asked; also the options of the command. */
export const QUESTIONS: readonly Question[] = [
  {
    option: 'email',
    field: 'operator.email',
    text: 'E-mail address of the operator',
    placeholder: 'address',
  },
  {
    option: 'name',
    field: 'operator.name',
    text: 'Name of the operator',
    placeholder: 'name',
    fallback: 'Operator',
  },
  { option: 'program', field: 'program.name', text: 'Name of the program', placeholder: 'name' },
  {
    option: 'currency',
    field: 'program.currency',
    text: 'Currency of the program',
    placeholder: 'code',
    fallback: 'EUR',
    after: 'program',
  },
  {
    option: 'rate',
    field: 'terms.rate_bps',
    text: 'Commission, percent of an order',
    placeholder: 'percent',
    fallback: '10',
    after: 'program',
  },
  {
    option: 'click-window',
    field: 'terms.cookie_days',
    text: 'Days between a click and an order',
    placeholder: 'days',
    fallback: '30',
    after: 'program',
  },
  {
    option: 'hold',
    field: 'terms.hold_days',
    text: 'Days between an order and its payment, for refunds',
    placeholder: 'days',
    fallback: '30',
    after: 'program',
  },
  {
    option: 'minimum',
    field: 'terms.payout_min',
    text: 'Least amount of a payout, in the currency of the program',
    placeholder: 'amount',
    fallback: '0',
    after: 'program',
  },
  {
    option: 'landing-url',
    field: 'campaign.landing_url',
    text: 'Page of the shop that links lead to',
    placeholder: 'url',
    after: 'program',
  },
  {
    option: 'campaign',
    field: 'campaign.name',
    text: 'Name of the campaign',
    placeholder: 'name',
    fallback: 'Everything',
    after: 'landing-url',
  },
  {
    option: 'allowed-hosts',
    field: 'campaign.allowed_hosts',
    text: 'Further hosts that links may lead to, with commas',
    placeholder: 'hosts',
    after: 'landing-url',
  },
  {
    option: 'partner-email',
    field: 'affiliate.email',
    text: 'E-mail address of the first partner',
    placeholder: 'address',
    after: 'program',
  },
  {
    option: 'partner',
    field: 'affiliate.name',
    text: 'Name of the first partner',
    placeholder: 'name',
    fallback: 'First partner',
    after: 'partner-email',
  },
];
