<?php
/**
 * Plugin Name: Afflux click id
 * Description: Keeps the click id of an affiliate's link and puts it into the order, as _afflux_click_id of its meta data.
 * Version: 1.0.0
 * Requires at least: 6.0
 * Requires PHP: 7.4
 * Requires Plugins: woocommerce
 * License: MIT
 * License URI: https://opensource.org/license/mit
 *
 * The MIT licence is compatible with the GPL of WordPress. The plugin has no settings, no tables and no requests of its own.
 *
 * @package Afflux
 */

defined( 'ABSPATH' ) || exit;

/** The parameter of links, unless a site defines another. */
defined( 'AFFLUX_PARAMETER' ) || define( 'AFFLUX_PARAMETER', 'click_id' );
/** How long the click counts, in days. */
defined( 'AFFLUX_DAYS' ) || define( 'AFFLUX_DAYS', 30 );

/**
 * A text as a click id.
 *
 * @param mixed $text What was sent.
 * @return string The id; '' when it is none.
 */
function afflux_click_id( $text ) {
	return is_string( $text ) && 1 === preg_match( '/\A[A-Za-z0-9_-]{22}\z/', $text ) ? $text : '';
}

/**
 * Whether the visitor agrees, where the plugin WP Consent API is there to ask.
 *
 * @return bool
 */
function afflux_may_keep() {
	return ! function_exists( 'wp_has_consent' ) || wp_has_consent( 'marketing' );
}

/** Keeps the click id of the landing page in a cookie that scripts cannot read. */
function afflux_keep_click_id() {
	// Nothing is changed by a click, so there is no nonce; the value is a click id or nothing.
	// phpcs:ignore WordPress.Security.NonceVerification, WordPress.Security.ValidatedSanitizedInput
	$id = afflux_click_id( isset( $_GET[ AFFLUX_PARAMETER ] ) ? wp_unslash( $_GET[ AFFLUX_PARAMETER ] ) : '' );
	if ( '' === $id || headers_sent() || ! afflux_may_keep() ) {
		return;
	}
	setcookie(
		'aff_click',
		$id,
		array(
			'expires'  => time() + AFFLUX_DAYS * DAY_IN_SECONDS,
			'path'     => '/',
			'domain'   => COOKIE_DOMAIN ? COOKIE_DOMAIN : '',
			'secure'   => is_ssl(),
			'httponly' => true,
			'samesite' => 'Lax',
		)
	);
	$_COOKIE['aff_click'] = $id;
}
add_action( 'init', 'afflux_keep_click_id' );

/**
 * Puts the kept click id into the order, before WooCommerce saves it.
 *
 * @param WC_Order $order The order of this checkout.
 */
function afflux_add_to_order( $order ) {
	// phpcs:ignore WordPress.Security.ValidatedSanitizedInput
	$id = afflux_click_id( isset( $_COOKIE['aff_click'] ) ? wp_unslash( $_COOKIE['aff_click'] ) : '' );
	if ( '' !== $id && afflux_may_keep() ) {
		$order->update_meta_data( '_afflux_click_id', $id );
	}
}
// The checkout of shortcodes, and that of blocks.
add_action( 'woocommerce_checkout_create_order', 'afflux_add_to_order' );
add_action( 'woocommerce_store_api_checkout_update_order_meta', 'afflux_add_to_order' );

/** Works with orders in tables of their own, and with the checkout of blocks. */
function afflux_declare_compatibility() {
	if ( class_exists( '\Automattic\WooCommerce\Utilities\FeaturesUtil' ) ) {
		\Automattic\WooCommerce\Utilities\FeaturesUtil::declare_compatibility( 'custom_order_tables', __FILE__, true );
		\Automattic\WooCommerce\Utilities\FeaturesUtil::declare_compatibility( 'cart_checkout_blocks', __FILE__, true );
	}
}
add_action( 'before_woocommerce_init', 'afflux_declare_compatibility' );
