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
 * The MIT licence is compatible with the GPL of WordPress. The plugin has no settings and no tables. Its one script, from your
 * collector, keeps the click id in the cookie aff_click, also on pages that a cache serves.
 *
 * @package Afflux
 */

defined( 'ABSPATH' ) || exit;

/** Where the script is loaded from. */
defined( 'AFFLUX_COLLECTOR' ) || define( 'AFFLUX_COLLECTOR', 'https://COLLECTOR_URL' );
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

/**
 * Loads the script that keeps the click id. Where the plugin WP Consent API is there to ask, it waits for marketing and deletes
 * the id when the visitor refuses, whenever that is.
 */
function afflux_load_script() {
	$attributes = array(
		'src'        => AFFLUX_COLLECTOR . '/afflux.js',
		'async'      => true,
		'data-param' => AFFLUX_PARAMETER,
		'data-days'  => AFFLUX_DAYS,
	);
	if ( COOKIE_DOMAIN ) {
		$attributes['data-domain'] = COOKIE_DOMAIN;
	}
	if ( function_exists( 'wp_has_consent' ) ) {
		$attributes['data-consent'] = 'wordpress';
	}
	wp_print_script_tag( $attributes );
}
add_action( 'wp_head', 'afflux_load_script' );

/**
 * Puts the kept click id into the order, before WooCommerce saves it. The renewal of a subscription that is paid at the checkout
 * is no order of this click.
 *
 * @param WC_Order $order The order of this checkout.
 */
function afflux_add_to_order( $order ) {
	// phpcs:ignore WordPress.Security.ValidatedSanitizedInput
	$id = afflux_click_id( isset( $_COOKIE['aff_click'] ) ? wp_unslash( $_COOKIE['aff_click'] ) : '' );
	if ( '' !== $id && afflux_may_keep() && ! $order->get_meta( '_subscription_renewal' ) ) {
		$order->update_meta_data( '_afflux_click_id', $id );
	}
}
// The checkout of shortcodes, and that of blocks.
add_action( 'woocommerce_checkout_create_order', 'afflux_add_to_order' );
add_action( 'woocommerce_store_api_checkout_update_order_meta', 'afflux_add_to_order' );

/**
 * WooCommerce Subscriptions copies what an order has to its subscription, and from there to each renewal: the click is that of
 * the first order alone.
 *
 * @param array $data What is copied, by its key.
 * @return array
 */
function afflux_leave_out( $data ) {
	unset( $data['_afflux_click_id'] );
	return $data;
}
add_filter( 'wc_subscriptions_object_data', 'afflux_leave_out' );

/** Works with orders in tables of their own, and with the checkout of blocks. */
function afflux_declare_compatibility() {
	if ( class_exists( '\Automattic\WooCommerce\Utilities\FeaturesUtil' ) ) {
		\Automattic\WooCommerce\Utilities\FeaturesUtil::declare_compatibility( 'custom_order_tables', __FILE__, true );
		\Automattic\WooCommerce\Utilities\FeaturesUtil::declare_compatibility( 'cart_checkout_blocks', __FILE__, true );
	}
}
add_action( 'before_woocommerce_init', 'afflux_declare_compatibility' );
